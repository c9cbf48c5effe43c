"""The rows behind the sharpness table: one for each task, space and method, as plain numbers.

Values of several seeds are averaged with their standard error; the solver's own error (residual, Monte-Carlo
standard error) is the largest over the seeds, so that a mean never looks better solved than its worst part.
Sharpness at different radii is not comparable: a row whose runs disagree on the radius carries none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from reports.measurements import Eigenvalue, LossIncrease, SpaceMeasurement
from reports.statistics import Estimate, estimate
from reports.store import Store
from reports.style import order_spaces

Part = TypeVar("Part")

#: The estimates of a row, by name.
ESTIMATES = ("lambda_max", "lambda_min", "worst_case_one_step", "worst_case", "average_case", "products")


@dataclass(frozen=True, kw_only=True)
class SharpnessRow:
    """One method in one space of one task; eigenvalues and loss increases of the mean loss."""

    task: str
    space: str
    method: str
    seeds: tuple[int, ...]
    dimension: int | None
    #: Radius of the worst case, ||dW|| in weight space; None if absent or not equal in all runs.
    radius: float | None
    #: Radius of the average case, likewise; it is often larger, since random directions are mostly flat.
    average_radius: float | None
    #: Name of `ESTIMATES` -> mean over seeds; absent where there is none.
    values: Mapping[str, Estimate]
    #: `lambda_max`, `lambda_min` (residual), `average_case` (standard error over draws) -> largest over seeds.
    errors: Mapping[str, float]
    #: False if any eigenvalue shown did not reach its tolerance.
    converged: bool
    #: Why there is no measurement; empty if there is one.
    reason: str


def measured_spaces(store: Store, task: str) -> tuple[str, ...]:
    """Return the names of the spaces in which any run of the task was measured, in the fixed order."""
    runs = (run for run in store.runs if run.task == task and run.measurement)
    return order_spaces({name for run in runs if run.measurement for name in run.measurement.spaces})


def collected_by_space(
    store: Store, task: str, collect: Callable[[Store, str, str], dict[str, Part]]
) -> dict[str, dict[str, Part]]:
    """Return what `collect(store, task, space)` finds, method -> parts, for each measured space where it finds any."""
    found = {space: collect(store, task, space) for space in measured_spaces(store, task)}
    return {space: methods for space, methods in found.items() if methods}


def measured_by_method(
    store: Store, task: str, space: str, part: Callable[[SpaceMeasurement], Part | None]
) -> dict[str, list[Part]]:
    """Return a part of what runs measured in a space, method -> one entry a seed; methods without it are absent."""
    found: dict[str, list[Part]] = {}
    for method in store.methods_of(task):
        spaces = [run.space(space) for run in store.runs_of(task, method)]
        parts = [taken for measured in spaces if measured is not None and (taken := part(measured)) is not None]
        if parts:
            found[method] = parts
    return found


def build_sharpness(store: Store, task: str) -> tuple[SharpnessRow, ...]:
    """Return one row for each measured space and method, space by space."""
    spaces = measured_spaces(store, task)
    return tuple(_row(store, task, space, method) for space in spaces for method in store.methods_of(task))


def equal_radii(rows: Iterable[SharpnessRow]) -> tuple[float | None, float | None]:
    """Return the radii of worst and average case that all rows with a measurement share, None where they differ."""
    measured = [row for row in rows if not row.reason]
    return _shared([row.radius for row in measured]), _shared([row.average_radius for row in measured])


def _row(store: Store, task: str, space: str, method: str) -> SharpnessRow:
    runs = store.runs_of(task, method)
    measured = {run.seed: found for run in runs if (found := run.space(space)) is not None}
    reason = ""
    if not measured:
        reason = runs[0].why_no_measurement() if runs else store.why_no_run(task, method)
    spaces = tuple(measured.values())
    largest = [found.largest for found in spaces]
    smallest = [found.smallest for found in spaces]
    average = [found.average_case for found in spaces]
    dimensions = {found.dimension for found in spaces}
    return SharpnessRow(
        task=task,
        space=space,
        method=method,
        seeds=tuple(measured),
        dimension=dimensions.pop() if len(dimensions) == 1 else None,
        radius=_shared([c.radius for found in spaces for c in (found.one_step, found.worst_case) if c]),
        average_radius=_shared([case.radius for case in average if case]),
        values=_values(spaces),
        errors=_largest(
            lambda_max=[pair.residual for pair in largest if pair],
            lambda_min=[pair.residual for pair in smallest if pair],
            average_case=[case.standard_error for case in average if case],
        ),
        converged=all(pair.converged for pair in (*largest, *smallest) if pair),
        reason=reason,
    )


def _values(spaces: tuple[SpaceMeasurement, ...]) -> dict[str, Estimate]:
    columns = {
        "lambda_max": [_value(found.largest) for found in spaces],
        "lambda_min": [_value(found.smallest) for found in spaces],
        "worst_case_one_step": [_increase(found.one_step) for found in spaces],
        "worst_case": [_increase(found.worst_case) for found in spaces],
        "average_case": [_increase(found.average_case) for found in spaces],
        "products": [found.products for found in spaces],
    }
    complete = {name: [v for v in column if v is not None] for name, column in columns.items()}
    return {name: estimate(found) for name, found in complete.items() if found and len(found) == len(spaces)}


def _largest(**columns: list[float | None]) -> dict[str, float]:
    stated = {name: [value for value in column if value is not None] for name, column in columns.items()}
    # One unstated error makes the whole unknown.
    return {name: max(found) for name, found in stated.items() if found and len(found) == len(columns[name])}


def _shared(radii: list[float | None]) -> float | None:
    # Radii that were computed as norms agree to rounding only.
    known = [radius for radius in radii if radius is not None]
    agree = len(known) == len(radii) and known and max(known) - min(known) <= 1e-5 * max(known)
    return known[0] if agree else None


def _value(pair: Eigenvalue | None) -> float | None:
    return pair.value if pair else None


def _increase(case: LossIncrease | None) -> float | None:
    return case.increase if case else None
