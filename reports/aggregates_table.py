"""The table of aggregates over tasks, with the probability of improvement on the baseline."""

from __future__ import annotations

from reports.aggregates import AGGREGATES, Aggregated, aggregate, comparable, improvement
from reports.layout import Cell, Column, Group, Line, Table, difference_cell
from reports.overview import overview_methods
from reports.quantities import spoken
from reports.store import Store
from reports.style import method_label

_DEFINITIONS = {
    "Interquartile mean": "Mean of the middle half of all runs on all tasks.",
    "Median": "Median over tasks of the mean score.",
    "Mean": "Mean over tasks and runs.",
    "Optimality gap": "How far below full marks runs are on average; smaller is better.",
}


def aggregates_table(store: Store) -> Table | None:
    """Lay out the aggregates; None for a single task, or where fewer than two methods have two seeds on every task."""
    scores = comparable(store, overview_methods(store)) if len(store.tasks) > 1 else {}
    if len(scores) < 2:
        return None
    baseline = scores.get(store.baseline)
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
    for method, found in scores.items():
        cells = [_cell(aggregate(found, take), 100.0) for take in AGGREGATES.values()]
        if method == store.baseline:
            cells.append(Cell(text="baseline"))
        elif baseline is None:
            cells.append(Cell(text="", detail="the baseline has not two seeds on every task"))
        else:
            cells.append(_cell(improvement(found, baseline), 1.0))
        lines.append(Line(method=method, label=method_label(method), cells=tuple(cells)))
    runs = sorted({found.shape[1] for found in scores.values()})
    return Table(
        name="aggregates",
        caption="Scores over all tasks as one number.",
        columns=tuple(columns),
        groups=(Group(title="", lines=tuple(lines)),),
        notes=(
            f"{spoken(runs[0], 'seed')[:1].upper()}{spoken(runs[0], 'seed')[1:]} a task"
            f"{f' or more, up to {runs[-1]}' if len(runs) > 1 else ''}. Intervals: bootstrap of the runs of every task "
            "by themselves (Agarwal et al., 2021); not paired, test examples not resampled, not corrected for the "
            "number of methods.",
        ),
    )


def _cell(found: Aggregated, scale: float) -> Cell:
    decimals = 1 if scale > 1 else 2
    return difference_cell(
        scale * found.value, scale * found.low, scale * found.high, lambda value: f"{value:.{decimals}f}"
    )
