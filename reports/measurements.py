"""The sharpness of one run as it was stored: spectrum ends, loss increases and slices, space by space.

These records carry what `analysis` wrote, with its own errors (Lanczos residuals, standard errors) beside every
value. Nothing is recomputed here: an estimate that is absent stays absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.fields import Record, RunStoreError, mapping, number, read_record, sequence
from reports.landscapes import Density, Plane, Robustness, floats, read_density, read_plane, read_robustness


@dataclass(frozen=True, kw_only=True)
class Eigenvalue:
    """One Hessian eigenvalue with its residual ||H v - value v|| (same unit as the value)."""

    value: float
    residual: float | None
    converged: bool


@dataclass(frozen=True, kw_only=True)
class LossIncrease:
    """A loss increase L(w + d) - L(w) with ||d|| = radius (mean loss over the measured tokens)."""

    increase: float
    radius: float | None
    #: Over random draws; None for a worst case.
    standard_error: float | None


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Losses along shared directions: `losses[d][a]` at step `alphas[a]` along direction d."""

    alphas: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    #: Weight-space norm of each displacement, in the shape of `losses`; empty where it was not recorded.
    weight_norms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class SpaceMeasurement:
    """All that was measured in one parameter space."""

    dimension: int | None
    top: tuple[Eigenvalue, ...]
    bottom: tuple[Eigenvalue, ...]
    products: float | None
    one_step: LossIncrease | None
    worst_case: LossIncrease | None
    average_case: LossIncrease | None
    slices: Slices | None
    #: Stored only where `--landscape` asked for them.
    robustness: Robustness | None = None
    density: Density | None = None
    plane: Plane | None = None

    @property
    def largest(self) -> Eigenvalue | None:
        """The largest algebraic eigenvalue."""
        return max(self.top, key=lambda pair: pair.value, default=None)

    @property
    def smallest(self) -> Eigenvalue | None:
        """The smallest algebraic eigenvalue (most negative curvature)."""
        return min(self.bottom, key=lambda pair: pair.value, default=None)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The sharpness record of one run."""

    loss: float | None
    settings: Record
    spaces: Mapping[str, SpaceMeasurement]


def read_measurement(path: Path) -> Measurement:
    """Read a `measurement.json`; raises `RunStoreError` naming the field that is malformed."""
    content = read_record(path)
    spaces = {}
    for name, space in mapping(content, "spaces").items():
        if not isinstance(space, dict):
            raise RunStoreError(f"{path.name}: space {name!r} is not an object")
        try:
            spaces[name] = _space(space)
        except (TypeError, ValueError, OverflowError) as fault:
            raise RunStoreError(f"{path.name}: space {name!r} is malformed: {fault}") from None
    return Measurement(loss=number(content, "loss"), settings=mapping(content, "settings"), spaces=spaces)


def _space(record: Record) -> SpaceMeasurement:
    dimension = number(record, "dimension")
    return SpaceMeasurement(
        dimension=None if dimension is None else int(dimension),
        top=_eigenvalues(sequence(record, "top")),
        bottom=_eigenvalues(sequence(record, "bottom")),
        products=number(record, "products"),
        one_step=_increase(mapping(record, "worst_case_one_step")),
        worst_case=_increase(mapping(record, "worst_case")),
        average_case=_increase(mapping(record, "average_case")),
        slices=_slices(mapping(record, "slices")),
        robustness=read_robustness(mapping(record, "robustness")),
        density=read_density(mapping(record, "density")),
        plane=read_plane(mapping(record, "plane")),
    )


def _eigenvalues(entries: list[Any]) -> tuple[Eigenvalue, ...]:
    pairs = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise TypeError(f"expected an eigenvalue record, found {entry!r}")
        value = number(entry, "value")
        if value is not None:
            # An unstated convergence counts as none: a report must not vouch for what nobody checked.
            converged = entry.get("converged") is True
            pairs.append(Eigenvalue(value=value, residual=number(entry, "residual"), converged=converged))
    return tuple(pairs)


def _increase(record: Record) -> LossIncrease | None:
    increase = number(record, "increase")
    if increase is None:
        return None
    return LossIncrease(
        increase=increase, radius=number(record, "radius"), standard_error=number(record, "standard_error")
    )


def _slices(record: Record) -> Slices | None:
    alphas = floats(sequence(record, "alphas"))
    losses = tuple(floats(direction) for direction in sequence(record, "losses"))
    norms = tuple(floats(direction) for direction in sequence(record, "weight_norms"))
    if not alphas or not losses:
        return None
    if any(len(direction) != len(alphas) for direction in (*losses, *norms)):
        raise ValueError(f"slices: every direction needs {len(alphas)} values, one for each alpha")
    return Slices(alphas=alphas, losses=losses, weight_norms=norms)
