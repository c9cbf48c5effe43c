"""Positions along a direction: where a landscape is evaluated, and what such positions must be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from analysis.errors import SettingsError


def symmetric_alphas(extent: float, points: int) -> tuple[float, ...]:
    """Return `points` equally spaced positions from -extent to extent, with 0 in the middle.

    Args:
        extent: Largest alpha, relative to the weights' rows for a filter-normalised direction.
        points: An odd number, at least 3.

    Raises:
        SettingsError: A value is out of range.
    """
    if points < 3 or points % 2 == 0:
        raise SettingsError(f"{points} slice points; expected an odd number of at least 3, so that 0 is one of them")
    if not extent > 0:
        raise SettingsError(f"slice extent is {extent}; expected a positive multiple of the weights' rows")
    half = points // 2
    return tuple(extent * step / half for step in range(-half, half + 1))


def covering_alphas(coordinates: Sequence[float], points: int, *, margin: float = 0.25) -> tuple[float, ...]:
    """Return equally spaced positions that cover some coordinates, 0 among them: the frame of a trajectory.

    Args:
        coordinates: What is to be covered, besides 0.
        points: How many positions there are at most, at least 5.
        margin: Left free on both sides, as a share of the coordinates' range.

    Raises:
        SettingsError: There are too few points, or all coordinates are 0.
    """
    low, high = min(0.0, *coordinates, 0.0), max(0.0, *coordinates, 0.0)
    if points < 5:
        raise SettingsError(f"{points} positions; expected at least 5")
    if high == low:
        raise SettingsError("all coordinates are 0, so they span no range")
    low, high = low - margin * (high - low), high + margin * (high - low)
    # Rounding both ends outwards to multiples of the step, so that 0 is one, takes up to two steps more.
    step = (high - low) / (points - 3)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(step * index for index in range(first, last + 1))


def check_evenly_spaced(positions: Sequence[float], *, name: str) -> None:
    """Refuse positions that are not ascending with one distance, of which differences could not be taken."""
    steps = [b - a for a, b in pairwise(positions)]
    if len(steps) < 2 or min(steps) <= 0 or max(steps) - min(steps) > 1e-6 * max(steps):
        raise SettingsError(f"{name} is {list(positions)}; expected at least 3 ascending, equally spaced positions")
