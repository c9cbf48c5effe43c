"""Signed distances to plane figures, negative inside, with operations that round the same on every machine.

Only sums, products, quotients, square roots, minima and comparisons of single float64 numbers are used: IEEE 754 rounds
each of them correctly, so a picture has the same bits on any processor and with any library version. Sines, powers and
sums over arrays, whose rounding or order may differ, are avoided. Formulas: Inigo Quilez, "2D distance functions".

A `Plane` holds the coordinates of all points of a picture, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Point = tuple[float, float]


class Plane(NamedTuple):
    """Coordinates of the points of a picture, two arrays of one shape."""

    x: Field
    y: Field

    def moved(self, x: float, y: float) -> Plane:
        """Return the coordinates seen from the point (x, y)."""
        return Plane(self.x - x, self.y - y)

    def enlarged(self, factor: float) -> Plane:
        """Return the coordinates in units of `factor`; distances come out in that unit."""
        return Plane(self.x / factor, self.y / factor)


def circle(at: Plane, centre: Point, radius: float) -> Field:
    """Distance to a disc."""
    x, y = at.moved(*centre)
    found: Field = np.sqrt(x * x + y * y) - radius
    return found


def box(at: Plane, centre: Point, half: Point, *, round_by: float = 0.0) -> Field:
    """Distance to a rectangle of half width and half height `half`, its corners rounded inwards."""
    x, y = at.moved(*centre)
    dx, dy = np.abs(x) - (half[0] - round_by), np.abs(y) - (half[1] - round_by)
    ox, oy = np.maximum(dx, 0.0), np.maximum(dy, 0.0)
    found: Field = np.sqrt(ox * ox + oy * oy) + np.minimum(np.maximum(dx, dy), 0.0) - round_by
    return found


def segment(at: Plane, start: Point, end: Point, radius: float) -> Field:
    """Distance to a line of thickness 2 `radius` with round ends."""
    x, y = at.moved(*start)
    ex, ey = end[0] - start[0], end[1] - start[1]
    along = np.minimum(np.maximum((x * ex + y * ey) / (ex * ex + ey * ey), 0.0), 1.0)
    dx, dy = x - ex * along, y - ey * along
    found: Field = np.sqrt(dx * dx + dy * dy) - radius
    return found


def polygon(at: Plane, corners: Sequence[Point]) -> Field:
    """Distance to a polygon that does not cross itself; corners in either direction."""
    nearest = np.full(at.x.shape, np.inf)
    inside = np.zeros(at.x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = at.x - ax, at.y - ay
        along = np.minimum(np.maximum((wx * ex + wy * ey) / (ex * ex + ey * ey), 0.0), 1.0)
        dx, dy = wx - ex * along, wy - ey * along
        nearest = np.minimum(nearest, dx * dx + dy * dy)
        # A ray to the right crosses the edge where the point lies to the left of it.
        crosses = ((ay > at.y) != (by > at.y)) & ((wx * ey - wy * ex < 0) == (ey > 0))
        inside ^= crosses
    distance: Field = np.sqrt(nearest)
    return np.where(inside, -distance, distance)


def union(*parts: Field) -> Field:
    """Distance to all of several figures together (a bound inside overlaps)."""
    found = parts[0]
    for part in parts[1:]:
        found = np.minimum(found, part)
    return found


def without(figure: Field, *holes: Field) -> Field:
    """Distance to a figure from which others are cut (a bound near the cuts)."""
    for hole in holes:
        figure = np.maximum(figure, -hole)
    return figure


def both(*parts: Field) -> Field:
    """Distance to what several figures share (a bound)."""
    found = parts[0]
    for part in parts[1:]:
        found = np.maximum(found, part)
    return found
