"""The table of a search: which settings every method tried, how they scored on validation, and which it chose."""

from __future__ import annotations

from reports.fields import Record, number, sequence, text
from reports.layout import Cell, Column, Group, Line, Table, hole
from reports.metric import Metric
from reports.quantities import setting, whole
from reports.store import Store, task_slug
from reports.style import method_label

_COLUMNS = (
    Column(title="Learning rate", unit="", definition="Peak learning rate of the trial."),
    Column(title="Radius", unit="", definition="The method's own radius, rho or sigma, in its own convention."),
)


def tuning_table(store: Store, task: str) -> Table | None:
    """Return the searches on a task, one group of rows a method, or None if there was none."""
    found = [record for record in store.tuning if text(record, "task") == task]
    if not found:
        return None
    metric = store.metric_of(task)
    score = Column(
        title=f"Validation {metric.name}",
        unit=metric.unit,
        definition=f"{metric.title} on validation examples, by which the trial was chosen; the first of equal ones.",
    )
    return Table(
        name=f"tuning-{task_slug(task)}",
        caption=f"Settings tried on {task}: the same number of trials for every method.",
        columns=(*_COLUMNS, score),
        groups=tuple(_group(record, metric) for record in found),
    )


def _group(record: Record, metric: Metric) -> Group:
    method, tried = text(record, "method"), [entry for entry in sequence(record, "trials") if isinstance(entry, dict)]
    gradients = number(record, "gradient_evaluations")
    spent = "" if gradients is None else f", {whole(gradients)} gradient evaluations"
    chosen = number(record, "chosen")
    lines = tuple(
        Line(
            method=method,
            label=f"{method_label(method)}, trial {index + 1}{' (chosen)' if index == chosen else ''}",
            cells=_cells(entry, metric),
        )
        for index, entry in enumerate(tried)
    )
    return Group(title=f"{method_label(method)}: {len(tried)} trials{spent}", lines=lines)


def _cells(entry: Record, metric: Metric) -> tuple[Cell, ...]:
    rate, radius, score = (number(entry, name) for name in ("learning_rate", "radius", "score"))
    return (
        Cell(text=setting(rate)) if rate is not None else hole("not recorded"),
        Cell(text=setting(radius)) if radius is not None else hole("this method has none"),
        Cell(text=metric.mark(score)) if score is not None else hole(text(entry, "problem") or "not recorded"),
    )
