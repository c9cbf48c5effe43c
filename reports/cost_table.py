"""The cost of methods, in the layout of the paper's Table 7: time of a step, memory and gradients, one group a task.

Ratios are taken seed by seed against the baseline on the same task; memory is what a method keeps above plain LoRA as
it says itself, beside the peak that was measured.
"""

from __future__ import annotations

from reports.comparison import ComparisonRow
from reports.layout import Cell, Column, Group, Line, Table, Writer, estimate_cell, hole
from reports.quantities import ratio, significant, whole
from reports.statistics import Estimate
from reports.store import Store
from reports.style import method_label


def cost_table(store: Store, rows: dict[str, tuple[ComparisonRow, ...]]) -> Table:
    """Lay out what a step of each method costs."""
    reference = method_label(store.baseline)
    columns = (
        Column(title="Step", unit="ms", definition="Time of one optimizer step, mean over seeds."),
        Column(
            title="Relative",
            unit=f"× {reference}",
            definition=f"The same relative to {reference} on the same task and seed, each in plain gradients timed "
            "beside it where the runs recorded them.",
        ),
        Column(title="Gradients", unit="count", definition="Gradient evaluations of the whole training run."),
        Column(title="Peak memory", unit="GiB", definition="Largest memory use of training above what was held."),
        Column(title="Extra state", unit="MiB", definition="What the method keeps beside the adapter."),
    )
    groups = tuple(Group(title=task, lines=tuple(_line(row) for row in found)) for task, found in rows.items())
    return Table(
        name="cost",
        caption="Cost of a training step by method.",
        columns=columns,
        groups=groups,
        notes=tuple(f"Times compare only on one machine: {text}." for text in store.warnings if "device" in text),
    )


def _line(row: ComparisonRow) -> Line:
    def cell(name: str, write: Writer, scale: float = 1.0) -> Cell:
        found = row.values.get(name)
        if found is None:
            return hole(row.reasons[name])
        error = None if found.standard_error is None else scale * found.standard_error
        return estimate_cell(Estimate(mean=scale * found.mean, standard_error=error, count=found.count), write)

    return Line(
        method=row.method,
        label=method_label(row.method),
        cells=(
            cell("step_seconds", significant, 1000.0),
            cell("relative_cost", ratio),
            cell("gradient_evaluations", whole),
            cell("peak_memory_bytes", _two_decimals, 2.0**-30),
            cell("extra_memory_bytes", _two_decimals, 2.0**-20),
        ),
    )


def _two_decimals(value: float) -> str:
    return f"{value:.2f}"
