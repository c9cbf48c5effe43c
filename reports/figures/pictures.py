"""What each method drew for the same prompts from the same noise, one row a method, beside each other.

The prompts are the first of the test split, so that the choice cannot flatter; a filled dot marks what was judged
right, where there is a right and a wrong. The runs are those of the smallest seed that all methods finished.
"""

from __future__ import annotations

from textwrap import fill

from matplotlib.axes import Axes

from reports.figures.canvas import INK, MUTED, WIDTH, Drawing, blank
from reports.runs import Run
from reports.store import Store
from reports.style import method_label

#: Prompts that are shown.
SHOWN = 10
# Letters of a line above a picture; pixels from which on a picture is larger than it is shown.
_TITLE, _LARGE = 12, 128


def draw_pictures(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the pictures of a task; None where no seed has pictures of a method."""
    chosen = _chosen(store, task)
    if not chosen:
        return None
    # Pictures of their own, which have titles, are not the ones that were judged.
    titled = [run for run in chosen.values() if run.titles]
    first = next(iter(titled or chosen.values()))
    count = min(SHOWN, *(_count(run) for run in chosen.values()))
    figure, grid = blank(len(chosen), count, height=0.32 + 1.18 * WIDTH / (count + 1.5) * len(chosen))
    for (method, run), row in zip(chosen.items(), grid, strict=True):
        for index, axes in enumerate(row):
            _draw(axes, run, index, judged=not titled)
        row[0].set_ylabel(method_label(method), rotation=0, ha="right", va="center")
    titles = first.titles or tuple(example.reference.split(",")[0] for example in first.examples)
    for title, axes in zip(titles, grid[0], strict=False):
        axes.set_title(fill(title, _TITLE), fontsize=7, loc="center")
    if titled:
        return Drawing(
            name=name,
            title="Pictures",
            caption=f"The first {count} prompts of the test, drawn with seed {first.seed} from equal noise in every "
            "row; the thing asked for stands above.",
            alt=f"Grid of pictures, one row a method: {', '.join(titles[:count])}.",
            figure=figure,
        )
    rights = (
        f"{method_label(method)} {sum(run.examples[index].score == 1.0 for index in range(count))}"
        for method, run in chosen.items()
    )
    return Drawing(
        name=name,
        title="Pictures",
        caption=f"The first {count} test prompts, drawn with seed {first.seed} from equal noise in every row; the "
        "thing asked for stands above. A filled dot: judged right.",
        alt=f"Grid of pictures, one row a method. Judged right of {count}: {', '.join(rights)}.",
        figure=figure,
    )


def _chosen(store: Store, task: str) -> dict[str, Run]:
    """Return a run with pictures of every method that has any, all of one seed."""
    having = {
        method: {run.seed: run for run in store.runs_of(task, method) if _count(run)}
        for method in store.methods_of(task)
    }
    having = {method: runs for method, runs in having.items() if runs}
    shared = set.intersection(*(set(runs) for runs in having.values())) if having else set()
    return {method: runs[min(shared)] for method, runs in having.items()} if shared else {}


def _count(run: Run) -> int:
    """Return how many pictures of a run are known to be of something."""
    return min(len(run.titles or run.examples), 0 if run.pictures is None else len(run.pictures))


def _draw(axes: Axes, run: Run, index: int, *, judged: bool) -> None:
    assert run.pictures is not None
    picture = run.pictures[index].transpose(1, 2, 0)
    # Large pictures are made smaller, small ones keep their pixels.
    axes.imshow(picture, interpolation="nearest" if len(picture) < _LARGE else "antialiased")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not judged:
        return
    right = run.examples[index].score == 1.0
    axes.set_xlabel("\N{BLACK CIRCLE}" if right else "\N{WHITE CIRCLE}", color=INK if right else MUTED, labelpad=0)
