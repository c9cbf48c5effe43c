"""What `--landscape` stored of a run in one space: robustness curve, spectral density and a plane of the loss.

Each is optional and read as it was written by `analysis`; a curve whose lengths do not agree is malformed and refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.fields import Record, number, sequence

Row = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Loss, and score of the task where it was taken, at theta + alpha g / ||g||; alpha = 0 is the first entry."""

    alphas: Row
    losses: Row
    #: Shares of full marks; empty where no score was taken.
    scores: Row
    #: How many examples were scored; None where no score was taken.
    examples: float | None = None


@dataclass(frozen=True, kw_only=True)
class Density:
    """A spectral density: `density[i]` per unit of eigenvalue at `grid[i]`, and the width of its smoothing kernel."""

    grid: Row
    density: Row
    width: float | None
    dimension: float | None


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Losses over a plane: `losses[i][j]` at `alphas[i]` along the first direction and `betas[j]` along the second."""

    alphas: Row
    betas: Row
    losses: tuple[Row, ...]


def floats(values: Any) -> Row:
    """Return stored numbers; a loss that overflowed is stored as null or NaN and becomes a gap in its curve."""
    return tuple(math.nan if value is None else float(value) for value in values)


def read_robustness(record: Record) -> Robustness | None:
    """Read a robustness curve; None where there is none, `ValueError` where its lengths differ."""
    alphas, losses, scores = (floats(sequence(record, name)) for name in ("alphas", "losses", "metrics"))
    if not alphas:
        return None
    _check("robustness", alphas, losses, *([scores] if scores else []))
    return Robustness(alphas=alphas, losses=losses, scores=scores, examples=number(record, "examples"))


def read_density(record: Record) -> Density | None:
    """Read a spectral density; None where there is none, `ValueError` where its lengths differ."""
    grid, density = (floats(sequence(record, name)) for name in ("grid", "density"))
    if not grid:
        return None
    _check("density", grid, density)
    return Density(grid=grid, density=density, width=number(record, "width"), dimension=number(record, "dimension"))


def read_plane(record: Record) -> Plane | None:
    """Read a plane; None where there is none, `ValueError` where its lengths differ."""
    alphas, betas = (floats(sequence(record, name)) for name in ("alphas", "betas"))
    losses = tuple(floats(row) for row in sequence(record, "losses"))
    if not alphas:
        return None
    _check("plane", alphas, losses)
    _check("plane", betas, *losses)
    return Plane(alphas=alphas, betas=betas, losses=losses)


def _check(name: str, positions: Row, *columns: Sequence[Any]) -> None:
    if any(len(column) != len(positions) for column in columns):
        raise ValueError(f"{name}: expected {len(positions)} values, one for each position")
