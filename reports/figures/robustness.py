"""Loss and score under the one-step attack theta + alpha g / ||g||, space by space: the form of the paper's Table A6.

alpha is a length in the coordinates of the space, so that panels of two spaces do not share an axis. Drawn are means
over seeds with bands from the smallest to the largest, at the lengths that all seeds have.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from reports.figures.bands import draw_band
from reports.figures.canvas import Drawing, add_legend, blank, marks
from reports.landscapes import Robustness
from reports.metric import Metric
from reports.quantities import setting, significant
from reports.sharpness import collected_by_space, measured_by_method
from reports.store import Store
from reports.style import method_label, space_label, space_phrase


def draw_robustness(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the robustness curves of a task; None if no run has any."""
    found = collected_by_space(store, task, _collect)
    if not found:
        return None
    metric = store.metric_of(task)
    every = [curve for methods in found.values() for curves in methods.values() for curve in curves]
    scored = any(curve.scores for curve in every)
    figure, grid = blank(1 + scored, len(found), height=0.5 + 2.4 * (1 + scored))
    facts: list[str] = []
    for column, (space, methods) in enumerate(found.items()):
        grid[0][column].set_title(space_label(space))
        for method, curves in methods.items():
            end = _line(grid[0][column], method, curves)
            facts.append(f"{method_label(method)} reaches {end} in {space_phrase(space)}")
            if scored:
                _line(grid[1][column], method, curves, metric=metric)
        grid[0][column].set_ylabel(f"loss ({metric.loss.axis})")
        if scored:
            grid[1][column].set_ylabel(f"{metric.name} ({metric.unit})")
        grid[-1][column].set_xlabel("step α along the normalised gradient")
    add_legend(figure, tuple(dict.fromkeys(method for methods in found.values() for method in methods)))
    counts = {curve.examples for curve in every if curve.examples}
    lower = f"Bottom: {metric.name} on {_counted(counts)} at the same points. " if scored else ""
    return Drawing(
        name=name,
        title="Robustness to a step along the gradient",
        caption=f"Loss on the measured training examples at θ + α g/‖g‖, the attack of the paper's Table A6. {lower}"
        "Mean over seeds, bands from the smallest to the largest.",
        alt=f"Line charts of loss against step length. At the largest step {'; '.join(facts)}.",
        figure=figure,
    )


def _collect(store: Store, task: str, space: str) -> dict[str, list[Robustness]]:
    return measured_by_method(store, task, space, lambda measured: measured.robustness)


def _line(axes: Axes, method: str, curves: list[Robustness], *, metric: Metric | None = None) -> str:
    """Draw a method's losses, or scores where a metric is given; return its last point in words."""
    rows = [
        list(zip(c.alphas, c.losses if metric is None else map(metric.scaled, c.scores), strict=metric is None))
        for c in curves
    ]
    mean = draw_band(axes, [row for row in rows if row], **{**marks(method), "markersize": 4})
    if not mean or not math.isfinite(mean[-1][1]):
        return "no finite loss"
    return f"{significant(mean[-1][1])} at α = {setting(mean[-1][0])}"


def _counted(counts: set[float]) -> str:
    return f"the first {counts.pop():.0f} test examples" if len(counts) == 1 else "test examples"
