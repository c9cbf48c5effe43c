"""Puts names beside points so that none covers another, a point or a bar.

Each label tries places around its point, near ones first, and takes the first that is free; extents are measured on the
canvas. A label that finds no free place takes the one that covers least, and one that ends up far from its point is
joined to it by a thin line. The order of the points decides, so the same numbers give the same places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from reports.figures.canvas import MUTED

#: Offsets in points, with the alignment that keeps the label beside its point.
_PLACES = (
    [(8 * far, dy * far, "left") for far in (1, 2, 3) for dy in (0, 9, -9, 16, -16)]
    + [(-8 * far, dy * far, "right") for far in (1, 2, 3) for dy in (0, 9, -9, 16, -16)]
    + [(0, dy, "center") for dy in (14, -14, 26, -26, 40, -40, 54, -54)]
    + [(sign * 34, dy, side) for dy in (0, 30, -30, 60, -60, 80, -80) for sign, side in ((1, "left"), (-1, "right"))]
)
#: Beyond this distance in points a label is joined to its point.
_NEAR = 18.0
#: Room around bars and markers in points.
_PAD = 1.5


def place_labels(axes: Axes, labels: Sequence[tuple[str, float, float]], obstacles: Sequence[Bbox]) -> list[Annotation]:
    """Annotate points.

    Args:
        axes: Where the points lie; its limits and the figure's layout must be final.
        labels: (text, x, y) in data coordinates.
        obstacles: Extents on the canvas that labels keep away from, the points' markers and bars.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    pixel, frame = figure.dpi / 72.0, axes.get_window_extent(renderer).extents
    taken = np.array([box.extents for box in obstacles]).reshape(-1, 4)
    placed = []
    for text, x, y in labels:
        note = axes.annotate(text, (x, y), xytext=(0, 0), textcoords="offset points", va="center")
        tried = _extents(np.array(note.get_window_extent(renderer).extents), pixel)
        outside = np.maximum(frame[:2] - tried[:, :2], 0).sum(axis=1) + np.maximum(tried[:, 2:] - frame[2:], 0).sum(
            axis=1
        )
        costs = _overlaps(tried, taken) + 1000.0 * outside
        # `argmin` takes the first of equals: the nearest of the places that are free.
        best = int(costs.argmin())
        place = _PLACES[best]
        note.set_position(place[:2])
        note.set_horizontalalignment(place[2])  # type: ignore[arg-type]
        taken = np.vstack([taken, tried[best]])
        placed.append(note)
        if abs(place[0]) + abs(place[1]) > _NEAR:
            _join(axes, (x, y), place)
    return placed


def extents_of_bars(axes: Axes) -> list[Bbox]:
    """Return the extents on the canvas of every marker, bar and cap that `errorbar` drew.

    A collection's own `get_window_extent` does not know where its segments lie, so they are transformed here.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    pixel = figure.dpi / 72.0
    found = []
    for container in axes.containers:
        if not isinstance(container, ErrorbarContainer):
            continue
        marker, caps, bars = container.lines
        for line in (*([marker] if marker is not None else []), *caps):
            half = (_PAD + 0.5 * float(line.get_markersize())) * pixel
            for x, y in axes.transData.transform(line.get_xydata()):
                found.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
        for segment in (segment for bar in bars for segment in bar.get_segments()):
            (x0, y0), (x1, y1) = axes.transData.transform(segment)
            pad = _PAD * pixel
            found.append(Bbox.from_extents(min(x0, x1) - pad, min(y0, y1) - pad, max(x0, x1) + pad, max(y0, y1) + pad))
    return found


def _join(axes: Axes, point: tuple[float, float], place: tuple[float, float, str]) -> None:
    dx, dy, side = place
    start = (dx, dy - (5 if dy > 0 else -5)) if side == "center" else (dx, dy)
    look = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
    axes.annotate("", point, xytext=start, textcoords="offset points", arrowprops=look, zorder=1)


def _extents(at_point: NDArray[np.float64], pixel: float) -> NDArray[np.float64]:
    """Return the extents (places, 4) of a label at all places, from its extent with its left middle on the point."""
    width = at_point[2] - at_point[0]
    back = {"left": 0.0, "right": width, "center": 0.5 * width}
    moves = np.array([(dx * pixel - back[side], dy * pixel) for dx, dy, side in _PLACES])
    extents: NDArray[np.float64] = at_point + np.hstack([moves, moves])
    return extents


def _overlaps(tried: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area (places,) that each extent shares with all that are taken."""
    low = np.maximum(tried[:, None, :2], taken[None, :, :2])
    high = np.minimum(tried[:, None, 2:], taken[None, :, 2:])
    shared: NDArray[np.float64] = np.maximum(high - low, 0.0).prod(axis=2).sum(axis=1)
    return shared
