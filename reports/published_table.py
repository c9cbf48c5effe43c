"""The table of published beside measured numbers, one group of rows for each table and metric of the paper."""

from __future__ import annotations

from reports.layout import Cell, Column, Group, Line, Table, Writer, estimate_cell, hole
from reports.published import Pair
from reports.quantities import MINUS
from reports.store import task_slug
from reports.style import method_label

_COLUMNS = (
    Column(title="Published", unit="", definition="What the paper prints, with its standard error where it has one."),
    Column(title="Measured", unit="", definition="Mean over the seeds of these runs, with its standard error."),
    Column(
        title="Difference",
        unit="",
        definition="Measured minus published, with the standard error of both together where both have one.",
    ),
)
_COSTS = ("step-time", "peak-memory")


def published_table(pairs: tuple[Pair, ...], *, task: str, preset: str) -> Table | None:
    """Lay out the pairs of one task, or return None if there are none."""
    if not pairs:
        return None
    costs = any(pair.metric in _COSTS for pair in pairs)
    note = " Times and memory are of other machines, so their differences say nothing of the methods." if costs else ""
    heads = dict.fromkeys(_head(pair) for pair in pairs)
    return Table(
        name=f"published-{task_slug(task)}",
        caption=f"Published (arXiv 2508.19564) beside measured on {task}, by preset {preset}.{note}",
        columns=_COLUMNS,
        groups=tuple(
            Group(title=head, lines=tuple(_line(pair) for pair in pairs if _head(pair) == head)) for head in heads
        ),
    )


def _head(pair: Pair) -> str:
    return f"Table {pair.table}: {pair.model}, {pair.task}, {pair.metric} ({pair.unit})"


def _line(pair: Pair) -> Line:
    def write(value: float) -> str:
        # The paper's own digits: milliseconds of short steps, hundredths of everything else.
        return f"{value:.{3 if pair.unit == 's' else 2}f}".replace("-", MINUS)

    if pair.published is None:
        published = hole(pair.reasons["published"])
    else:
        error = pair.published.standard_error
        published = Cell(
            text=write(pair.published.value),
            detail="" if error is None else f"± {write(error)}",
            numbers=_numbers(pair.published.value, error),
        )
    measured = (
        hole(pair.reasons["measured"]) if pair.measured is None else estimate_cell(pair.measured, write, one="one seed")
    )
    return Line(
        method=pair.method, label=method_label(pair.method), cells=(published, measured, _difference(pair, write))
    )


def _difference(pair: Pair, write: Writer) -> Cell:
    value, error = pair.difference, pair.difference_error
    if value is None:
        return hole(pair.reasons.get("measured") or pair.reasons["published"])
    sign = "+" if value > 0 else ""
    detail = "" if error is None else f"± {write(error)}"
    return Cell(text=sign + write(value), detail=detail, numbers=_numbers(value, error))


def _numbers(value: float, error: float | None) -> tuple[tuple[str, float], ...]:
    return (("value", value),) + (() if error is None else (("standard_error", error),))
