"""The table of aggregates over tasks, with the probability of improvement on the baseline."""

from __future__ import annotations

from collections.abc import Mapping

from reports.aggregates import AGGREGATES, Aggregated, MethodAggregates
from reports.layout import Cell, Column, Group, Line, Table, difference_cell, hole
from reports.quantities import spoken
from reports.store import Store
from reports.style import method_label

_DEFINITIONS = {
    "Interquartile mean": "Mean of the middle half of all runs on all tasks.",
    "Median": "Median over tasks of the mean score.",
    "Mean": "Mean over tasks and runs.",
    "Optimality gap": "How far below full marks runs are on average; smaller is better.",
}


def aggregates_table(store: Store, found: Mapping[str, MethodAggregates]) -> Table | None:
    """Lay out the aggregates; None without any."""
    if not found:
        return None
    columns = [
        Column(title=name, unit="% of full marks", definition=f"{_DEFINITIONS[name]} With its 95 % interval.")
        for name in AGGREGATES
    ]
    columns.append(
        Column(
            title="Improvement",
            unit="probability",
            definition=f"Probability that a run scores above one of {method_label(store.baseline)} on the same task, "
            "ties counting half, mean over tasks, with its 95 % interval.",
        )
    )
    lines = []
    for method, one in found.items():
        cells = [_cell(value, 100.0) for value in one.values.values()]
        if one.improvement is not None:
            cells.append(_cell(one.improvement, 1.0))
        elif method == store.baseline:
            cells.append(Cell(text="baseline"))
        else:
            cells.append(hole("the baseline has not two seeds on every task"))
        lines.append(Line(method=method, label=method_label(method), cells=tuple(cells)))
    runs = sorted({one.runs for one in found.values()})
    counted = spoken(runs[0], "seed")
    return Table(
        name="aggregates",
        caption="Scores over all tasks as one number.",
        columns=tuple(columns),
        groups=(Group(title="", lines=tuple(lines)),),
        notes=(
            f"{counted[:1].upper()}{counted[1:]} a task{f' or more, up to {runs[-1]}' if len(runs) > 1 else ''}. "
            "Intervals: bootstrap of the runs of every task by themselves (Agarwal et al., 2021); not paired, test "
            "examples not resampled, not corrected for the number of methods.",
        ),
    )


def _cell(found: Aggregated, scale: float) -> Cell:
    decimals = 1 if scale > 1 else 2
    return difference_cell(
        scale * found.value, scale * found.low, scale * found.high, lambda value: f"{value:.{decimals}f}"
    )
