"""Training and evaluation curves: loss against optimizer steps.

The left panel is the loss of the batches that a method trained on (its own objective, so perturbed methods read
higher); the right one is evaluated with the adapter alone, on validation examples and on training examples. One
line a method: the mean over seeds at steps that all of them recorded, with a band from the smallest to the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes

from reports.figures.bands import draw_band
from reports.figures.canvas import MUTED, Drawing, add_legend, blank, marks
from reports.quantities import significant, whole
from reports.runs import Run
from reports.store import Store
from reports.style import method_label


def draw_curves(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the curves of a task; None if no run recorded a loss."""
    runs = {method: store.runs_of(task, method) for method in store.methods_of(task)}
    shown = tuple(method for method, found in runs.items() if any(_has_curve(run) for run in found))
    if not shown:
        return None
    figure, ((left, right),) = blank(1, 2, height=2.9)
    endings = []
    for method in shown:
        _line(left, runs[method], "loss", linewidth=1.2, **{**marks(method), "marker": ""})
        ending = _line(right, runs[method], "validation_loss", **marks(method))
        _line(right, runs[method], "train_eval_loss", linestyle=(0, (3, 2)), **{**marks(method), "marker": ""})
        if ending is not None:
            endings.append(f"{method_label(method)} ends at {significant(ending[1])} (step {whole(ending[0])})")
    left.set_title("Training batches")
    right.set_title("Evaluation, adapter alone")
    right.plot([], [], color=MUTED, label="validation")
    right.plot([], [], color=MUTED, linestyle=(0, (3, 2)), label="training examples")
    right.legend(loc="best")
    for axes in (left, right):
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(f"loss ({store.metric_of(task).loss.axis})")
        axes.set_ylim(bottom=0)
    add_legend(figure, shown)
    spread = " Bands run from the smallest to the largest seed." if len(store.seeds) > 1 else ""
    return Drawing(
        name=name,
        title="Training and evaluation loss",
        caption="Left: loss of the batches each method trains on, its own perturbation included where it has one. "
        "Right: the trained adapter alone, on validation examples (solid) and training examples (dashed)." + spread,
        alt=f"Line charts of loss against optimizer step. Validation loss: {'; '.join(endings) or 'not recorded'}.",
        figure=figure,
    )


def _has_curve(run: Run) -> bool:
    return any(run.series(name)[0] for name in ("loss", "validation_loss", "train_eval_loss"))


def draw_losses(axes: Axes, store: Store, task: str, field: str, *, methods: Sequence[str]) -> tuple[str, ...]:
    """Draw one field of the history of some methods on a task; return those that recorded it."""
    drawn = []
    for method in methods:
        look = {**marks(method), "markersize": 3, "linewidth": 1.2}
        if _line(axes, store.runs_of(task, method), field, **look) is not None:
            drawn.append(method)
    return tuple(drawn)


def _line(axes: Axes, runs: Iterable[Run], field: str, **look: Any) -> tuple[float, float] | None:
    """Draw one method's line; return its last (step, value), or None where nothing was recorded."""
    curves = [list(zip(*series, strict=True)) for run in runs if (series := run.series(field))[0]]
    mean = draw_band(axes, curves, **look)
    return mean[-1] if mean else None
