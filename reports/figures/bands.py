"""One line for several seeds: their mean at the steps that all of them recorded, with a band over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

#: About as many markers are drawn on a line.
_MARKERS = 12


def draw_band(axes: Axes, curves: Sequence[Sequence[tuple[float, float]]], **look: Any) -> list[tuple[float, float]]:
    """Draw the mean of (step, value) curves with a band from the smallest to the largest; return the mean."""
    known = [dict(curve) for curve in curves if curve]
    if not known:
        return []
    steps = sorted(set(known[0]).intersection(*known[1:]))
    if not steps:
        return []
    columns = [[curve[step] for curve in known] for step in steps]
    mean = [sum(column) / len(column) for column in columns]
    if len(known) > 1:
        low, high = [min(column) for column in columns], [max(column) for column in columns]
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.18, linewidth=0)
    # A marker tells lines apart; one at each of many steps would hide them, and make most of a drawing's bytes.
    axes.plot(steps, mean, markevery=max(1, len(steps) // _MARKERS), **look)
    return list(zip(steps, mean, strict=True))
