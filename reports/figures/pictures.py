"""What each method drew for the same prompts from the same noise, one row a method, beside each other.

The prompts are the first of the test split, so that the choice cannot flatter; a filled dot marks what was judged
right. The runs are those of the smallest seed that all methods finished.
"""

from __future__ import annotations

from matplotlib.axes import Axes

from reports.figures.canvas import INK, MUTED, WIDTH, Drawing, blank
from reports.runs import Run
from reports.store import Store
from reports.style import method_label

#: Prompts that are shown.
SHOWN = 10


def draw_pictures(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the pictures of a task; None where no seed has pictures of a method."""
    chosen = _chosen(store, task)
    if not chosen:
        return None
    first = next(iter(chosen.values()))
    count = min(SHOWN, *(len(run.pictures) for run in chosen.values() if run.pictures is not None))
    figure, grid = blank(len(chosen), count, height=0.32 + 1.18 * WIDTH / (count + 1.5) * len(chosen))
    for (method, run), row in zip(chosen.items(), grid, strict=True):
        for index, axes in enumerate(row):
            _draw(axes, run, index)
        row[0].set_ylabel(method_label(method), rotation=0, ha="right", va="center")
    for index, axes in enumerate(grid[0]):
        axes.set_title(first.examples[index].reference.split(",")[0], fontsize=7, loc="center")
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
        method: {run.seed: run for run in store.runs_of(task, method) if run.pictures is not None and run.examples}
        for method in store.methods_of(task)
    }
    having = {method: runs for method, runs in having.items() if runs}
    shared = set.intersection(*(set(runs) for runs in having.values())) if having else set()
    return {method: runs[min(shared)] for method, runs in having.items()} if shared else {}


def _draw(axes: Axes, run: Run, index: int) -> None:
    assert run.pictures is not None
    axes.imshow(run.pictures[index].transpose(1, 2, 0), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    right = run.examples[index].score == 1.0
    axes.set_xlabel("\N{BLACK CIRCLE}" if right else "\N{WHITE CIRCLE}", color=INK if right else MUTED, labelpad=0)
