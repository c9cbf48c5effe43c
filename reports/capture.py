"""The table of capture: how much of the best first-order rise at its radius and rank the auxiliary pair reaches.

One line a method and task where runs recorded it while they trained; nothing where none did.
"""

from __future__ import annotations

from reports.layout import Column, Group, Line, Table, estimate_cell
from reports.quantities import significant
from reports.statistics import estimate
from reports.store import Store
from reports.style import method_label

_COLUMNS = (
    Column(title="Mean", unit="of 1", definition="Capture averaged over the recorded steps, mean over seeds."),
    Column(title="First", unit="of 1", definition="Capture at the first recorded step."),
    Column(title="Last", unit="of 1", definition="Capture at the last recorded step."),
)


def capture_table(store: Store) -> Table | None:
    """Lay out what the auxiliary pair captures; None where no run recorded it."""
    groups = []
    for task in store.tasks:
        lines = []
        for method in store.methods:
            curves = [run.dynamics.capture for run in store.runs_of(task, method) if run.dynamics]
            recorded = [[value for _, value in curve] for curve in curves if curve]
            if recorded:
                columns = ([sum(v) / len(v) for v in recorded], [v[0] for v in recorded], [v[-1] for v in recorded])
                cells = tuple(estimate_cell(estimate(column), significant) for column in columns)
                lines.append(Line(method=method, label=method_label(method), cells=cells))
        if lines:
            groups.append(Group(title=task, lines=tuple(lines)))
    if not groups:
        return None
    return Table(
        name="capture",
        caption="Capture: first-order rise of the auxiliary pair over the most at its radius and rank.",
        columns=_COLUMNS,
        groups=tuple(groups),
    )
