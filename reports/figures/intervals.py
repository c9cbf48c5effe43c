"""Differences to the baseline over tasks with their intervals: one panel a method, one line a task.

Differences are in per cent of full marks, so that tasks of other scales share an axis, paired over shared seeds and
test examples. Below the tasks stands their mean, whose interval pools the seeds over tasks (`reports.crossed`).
Intervals that exclude zero are drawn filled, others hollow; they are not corrected for their number, and the caption
says so.
"""

from __future__ import annotations

import math

from reports.crossed import Measured
from reports.figures.canvas import MUTED, Drawing, blank
from reports.overview import overview_methods
from reports.paired import paired_interval, paired_over_tasks
from reports.quantities import MINUS
from reports.store import Store
from reports.style import LIGHT_PAPER, method_label, method_style

_POOLED = "all tasks"
#: Panels beside each other, so that names and intervals stay readable.
_COLUMNS = 4


def interval_rows(store: Store, method: str) -> dict[str, Measured]:
    """Return task -> difference of a method to the baseline, and `all tasks` where it has every task."""
    found: dict[str, Measured] = {}
    for task in store.tasks:
        outcome = paired_interval(store.runs_of(task, method), store.runs_of(task, store.baseline))
        if isinstance(outcome, Measured):
            found[task] = outcome
    if len(found) == len(store.tasks) > 1:
        sides = ({task: store.runs_of(task, name) for task in store.tasks} for name in (method, store.baseline))
        pooled = paired_over_tasks(*sides)
        if isinstance(pooled, Measured):
            found[_POOLED] = pooled
    return found


def draw_intervals(store: Store, name: str) -> Drawing | None:
    """Draw the differences of all methods; None where none has an interval on two tasks."""
    rows = {method: interval_rows(store, method) for method in overview_methods(store) if method != store.baseline}
    shown = [method for method, found in rows.items() if len(found) > 1]
    if not shown:
        return None
    names = [*store.tasks, _POOLED]
    columns = min(_COLUMNS, len(shown))
    lines = math.ceil(len(shown) / columns)
    figure, grid = blank(lines, columns, height=lines * (0.75 + 0.26 * len(names)))
    panels = [axes for line in grid for axes in line]
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    panels = panels[: len(shown)]
    facts = []
    for axes, method in zip(panels, shown, strict=True):
        colour = method_style(method).colour
        for place, task in enumerate(names):
            found = rows[method].get(task)
            if found is None:
                continue
            clear = found.low > 0 or found.high < 0
            bar = [[100 * (found.value - found.low)], [100 * (found.high - found.value)]]
            axes.errorbar(
                100 * found.value, place, xerr=bar, color=colour, capsize=2.5, linestyle="",
                marker="D" if task == _POOLED else "o", markerfacecolor=colour if clear else LIGHT_PAPER,
            )  # fmt: skip
            words = f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
            facts.append(f"{method_label(method)} on {task} {words.replace('-', MINUS)}")
        axes.axvline(0.0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_title(method_label(method))
        axes.set_yticks(range(len(names)), names if axes in panels[::columns] else [""] * len(names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("% of full marks")
    reach = 1.08 * max(abs(bound) for m in shown for found in rows[m].values() for bound in (found.low, found.high))
    for axes in panels:
        axes.set_xlim(-100 * (reach or 0.01), 100 * (reach or 0.01))
    reference = method_label(store.baseline)
    return Drawing(
        name=name,
        title=f"Differences to {reference} over tasks",
        caption=f"Paired difference of test scores to {reference} with its 95 % interval, seeds and test examples both "
        "random; filled where it excludes zero. The intervals are not corrected for their number.",
        alt=f"Interval plot of differences to {reference} in per cent of full marks: {'; '.join(facts)}.",
        figure=figure,
    )
