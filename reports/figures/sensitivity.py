"""Score against an option of a method, one line a task: the layout of the paper's Figure 6a (rank) and 6b (radius).

Dashed lines are the baseline's scores on the same tasks, which do not depend on the option.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports.fields import number
from reports.figures.canvas import MUTED, Drawing, blank
from reports.quantities import setting
from reports.sensitivity import OPTIONS, Point, sensitivity
from reports.store import Store
from reports.style import method_label, task_look

_DASHES = (0, (3, 2))


def draw_sensitivity(store: Store, name: str) -> Drawing | None:
    """Draw every method that was trained at several values of an option; None where none was."""
    panels = {
        (method, option): curves
        for method in store.methods
        for option in OPTIONS
        if (curves := sensitivity(store, method, option))
    }
    if not panels:
        return None
    lines = -(-len(panels) // 2)
    figure, grid = blank(lines, 2 if len(panels) > 1 else 1, height=0.5 + 2.6 * lines)
    places = [axes for row in grid for axes in row]
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    facts: list[str] = []
    tasks: dict[str, dict[str, Any]] = {}
    for axes, ((method, option), curves) in zip(places, panels.items(), strict=False):
        for task, points in curves.items():
            look = tasks.setdefault(task, task_look(store.tasks.index(task)))
            _curve(axes, points, look)
            _baseline(axes, store, task, points, look)
            ends = ", ".join(f"{100 * point.score:.1f} % at {setting(point.value)}" for point in points)
            facts.append(f"{method_label(method)}, {OPTIONS[option]}, {task}: {ends}")
        values = sorted({point.value for points in curves.values() for point in points})
        axes.set_xscale("log")
        axes.set_xticks(values, [setting(value) for value in values])
        axes.minorticks_off()
        axes.set_title(method_label(method))
        axes.set_xlabel(OPTIONS[option])
        axes.set_ylabel("score (% of full marks)")
    handles = [Line2D([], [], label=task, **look) for task, look in tasks.items()]
    handles.append(Line2D([], [], color=MUTED, linestyle=_DASHES, label=method_label(store.baseline)))
    figure.legend(handles=handles, loc="outside upper left", ncols=min(4, len(handles)))
    return Drawing(
        name=name,
        title="Sensitivity to options",
        caption="Mean score on test examples over the seeds that all points of a line share, with its 95 % Student "
        f"interval over seeds (none for one seed); everything else as in the main setting. Dashed: "
        f"{method_label(store.baseline)} on the same task.",
        alt=f"Line charts of score against an option: {'; '.join(facts)}.",
        figure=figure,
    )


def _curve(axes: Axes, points: tuple[Point, ...], look: dict[str, Any]) -> None:
    values, scores = [point.value for point in points], [100 * point.score for point in points]
    below = [100 * (point.score - point.low) if point.low is not None else 0.0 for point in points]
    above = [100 * (point.high - point.score) if point.high is not None else 0.0 for point in points]
    axes.errorbar(values, scores, yerr=[below, above], capsize=2.5, elinewidth=1.1, **look)


def _baseline(axes: Axes, store: Store, task: str, points: tuple[Point, ...], look: dict[str, Any]) -> None:
    scores = [number(run.row, "score") for run in store.runs_of(task, store.baseline)]
    known = [score for score in scores if score is not None]
    if known and len(known) == len(scores):
        level = 100 * sum(known) / len(known)
        axes.plot(
            [points[0].value, points[-1].value], [level] * 2, color=look["color"], linestyle=_DASHES, linewidth=1.1
        )
