"""The main table, in the layout of the paper's Tables 1 to 3: methods by tasks with their average and their cost.

Every entry is a mean over seeds with its standard error. The best of a column and what is not distinguishable from it
are marked by the tests of `reports.standing`. The average is taken seed by seed over all tasks, in per cent of full
marks, and only for methods that have every task: a mean over easier tasks would flatter. Methods on adapter variants
have a table of their own (`reports.variants`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reports.comparison import ComparisonRow
from reports.layout import Cell, Column, Group, Line, Table, estimate_cell, hole
from reports.quantities import MINUS, gibibytes, ratio
from reports.runs import Run
from reports.standing import Standing, mean_by_seed, standings
from reports.statistics import estimate
from reports.store import Store
from reports.style import method_label

_MARKS = (
    "Best of a column is bold, what is not distinguishable from it is underlined: paired t test over shared seeds and "
    "test examples, both random, Holm-corrected for the number of methods at 5 %."
)


def overview_methods(store: Store) -> tuple[str, ...]:
    """Return the methods of the main table: those on the plain adapter, or all where there are none."""
    plain = tuple(method for method in store.methods if "+" not in method)
    return plain or store.methods


def overview_table(store: Store, rows: Mapping[str, tuple[ComparisonRow, ...]]) -> Table:
    """Lay out methods by tasks.

    Args:
        store: The runs.
        rows: Task -> its comparison rows.
    """
    methods = overview_methods(store)
    by_place = {(task, row.method): row for task, found in rows.items() for row in found}
    stands = {task: standings(store, (task,), methods) for task in store.tasks}
    several = len(store.tasks) > 1
    average = standings(store, store.tasks, methods) if several else {}
    columns = [_task_column(store, task) for task in store.tasks]
    if several:
        columns.append(Column(title="Average", unit="% of full marks", definition=_AVERAGE))
    columns += _cost_columns(store)
    lines = []
    for method in methods:
        cells = [_score_cell(store, by_place.get((task, method)), stands[task].get(method), task, method)
                 for task in store.tasks]  # fmt: skip
        if several:
            cells.append(_average_cell(store, method, average.get(method)))
        here = [by_place[task, method] for task in store.tasks if (task, method) in by_place]
        lines.append(Line(method=method, label=method_label(method), cells=(*cells, *_cost_cells(here))))
    return Table(
        name="overview",
        caption=f"Methods by tasks: mean and standard error over seeds{', average' if several else ''} and cost.",
        columns=tuple(columns),
        groups=(Group(title="", lines=tuple(lines)),),
        notes=(_MARKS, *_untested([*stands.values(), average])),
    )


_AVERAGE = "Mean over all tasks of the score in per cent of full marks, taken seed by seed, with its standard error."


def _task_column(store: Store, task: str) -> Column:
    metric = store.metric_of(task)
    return Column(
        title=task,
        unit=f"{metric.name}, {metric.unit}",
        definition=f"Mean {metric.name} on test examples of {task} over seeds, with its standard error.",
    )


def _cost_columns(store: Store) -> list[Column]:
    reference = method_label(store.baseline)
    return [
        Column(
            title="Cost",
            unit=f"× {reference}",
            definition=f"Time of one optimizer step relative to {reference}, mean over the tasks of the row.",
        ),
        Column(title="Memory", unit="GiB", definition="Peak memory of training, the largest mean over the tasks."),
    ]


def _score_cell(store: Store, row: ComparisonRow | None, standing: Standing | None, task: str, method: str) -> Cell:
    if row is None:
        return hole(store.why_no_run(task, method))
    score = row.values.get("score")
    if score is None:
        return hole(row.reasons["score"])
    return _marked(estimate_cell(score, row.metric.mark, score=True), standing)


def _average_cell(store: Store, method: str, standing: Standing | None) -> Cell:
    runs: dict[str, tuple[Run, ...]] = {task: store.runs_of(task, method) for task in store.tasks}
    lacking = [task for task, found in runs.items() if not found]
    if lacking:
        return hole(f"no average: {lacking[0]} has no finished run ({store.why_no_run(lacking[0], method)})")
    means = mean_by_seed(runs)
    if means is None:
        return hole("no average: no seed has a score on every task")
    found = estimate(tuple(means.values()))
    return _marked(estimate_cell(found, lambda share: f"{100 * share:.1f}".replace("-", MINUS), score=True), standing)


def _marked(cell: Cell, standing: Standing | None) -> Cell:
    if standing is None:
        return cell
    tested = tuple(
        (name, value)
        for name, value in (("probability", standing.probability), ("holm_probability", standing.adjusted))
        if value is not None
    )
    return replace(cell, mark=standing.mark, numbers=cell.numbers + tested)


def _cost_cells(rows: list[ComparisonRow]) -> tuple[Cell, Cell]:
    costs = [row.values["relative_cost"].mean for row in rows if "relative_cost" in row.values]
    sizes = [row.values["peak_memory_bytes"].mean for row in rows if "peak_memory_bytes" in row.values]
    reasons = [reason for row in rows for name, reason in row.reasons.items() if name == "relative_cost"]
    cost, memory = sum(costs) / len(costs) if costs else None, max(sizes, default=None)
    why = reasons[0] if reasons else "not recorded"
    return (
        hole(why) if cost is None else Cell(text=ratio(cost), numbers=(("value", cost),)),
        hole(why) if memory is None else Cell(text=gibibytes(memory), numbers=(("value", memory / 2**30),)),
    )


def _untested(columns: list[dict[str, Standing]]) -> tuple[str, ...]:
    by_reason: dict[str, list[str]] = {}
    for column in columns:
        for found in column.values():
            label = method_label(found.method)
            if found.reason and label not in by_reason.setdefault(found.reason, []):
                by_reason[found.reason].append(label)
    return tuple(f"Not tested: {', '.join(labels)} ({reason})." for reason, labels in by_reason.items())
