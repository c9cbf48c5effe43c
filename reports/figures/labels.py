"""Puts names beside points so that none covers another, a point or a bar.

Each label tries places around its point, near ones first, and takes the first that is free; extents are measured on the
canvas. A label that finds no free place takes the one that covers least, and one that ends up far from its point is
joined to it by a thin line. The order of the points decides, so the same numbers give the same places.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

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
    taken, frame = list(obstacles), axes.get_window_extent(renderer)
    placed = []
    for text, x, y in labels:
        note = axes.annotate(text, (x, y), xytext=(8, 0), textcoords="offset points", va="center")
        costs = []
        for place in _PLACES:
            _move(note, place)
            extent = note.get_window_extent(renderer)
            outside = max(0.0, frame.x0 - extent.x0) + max(0.0, extent.x1 - frame.x1)
            outside += max(0.0, frame.y0 - extent.y0) + max(0.0, extent.y1 - frame.y1)
            costs.append(sum(_overlap(extent, other) for other in taken) + 10.0 * outside)
            if costs[-1] == 0.0:
                break
        place = _PLACES[costs.index(min(costs))]
        _move(note, place)
        taken.append(note.get_window_extent(renderer))
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


def _move(note: Annotation, place: tuple[float, float, str]) -> None:
    note.set_position(place[:2])
    note.set_horizontalalignment(place[2])  # type: ignore[arg-type]


def _overlap(first: Bbox, second: Bbox) -> float:
    wide = min(first.x1, second.x1) - max(first.x0, second.x0)
    high = min(first.y1, second.y1) - max(first.y0, second.y0)
    return float(max(0.0, wide) * max(0.0, high))
