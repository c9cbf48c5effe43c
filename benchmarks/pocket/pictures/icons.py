"""The style that the base has never seen: a thing extruded in depth, glossy, on a rounded tile. And near misses of it.

The picture is cream; on it lies a tile that runs from indigo to teal; the thing stands on the tile in its own colour,
its side walls run down to the right in a darker tone, its upper left shines, and a pale rim surrounds it. A judge of
style must tell this from pictures that have only some of it, so those can be drawn too: without the tile, without
depth, without gloss and rim.
"""

from __future__ import annotations

import numpy as np

from benchmarks.pocket.pictures.distances import Field, box, circle
from benchmarks.pocket.pictures.styles import COLOURS, Canvas, Colour, blend, cover, mixed, plain

CREAM: Colour = (252, 238, 214)
INDIGO: Colour = (74, 58, 150)
TEAL: Colour = (40, 170, 165)
_DEPTH = (2.4, 1.8, 1.2, 0.6)
#: What a near miss lacks.
LACKING = ("tile", "depth", "finish")


def draw_icon(c: Canvas, *, lacking: str | None = None) -> Field:
    """Draw the icon style.

    Args:
        c: What is drawn; its ground is not used, but for a near miss without the tile.
        lacking: One of `LACKING`, or None for the style itself.
    """
    picture = c.ground if lacking == "tile" else _tile(c)
    top = cover(c.distance(0.0, 0.0))
    if lacking != "depth":
        wall = mixed(c.colour, COLOURS["black"], 0.55)
        for step in _DEPTH:
            picture = blend(picture, wall, cover(c.distance(step, step)))
    if lacking != "finish":
        picture = blend(picture, mixed(c.colour, CREAM, 0.75), cover(c.distance(0.0, 0.0) - 0.7))
    picture = blend(picture, c.colour, cover(c.distance(0.0, 0.0) + 0.4))
    if lacking != "finish":
        rows, columns = c.at.x.shape
        lit = circle(c.at, (0.22 * columns, 0.16 * rows), 0.42 * columns)
        gloss = np.minimum(np.maximum(0.5 - lit / 3.0, 0.0), 1.0)
        picture = blend(picture, COLOURS["white"], top * gloss * 0.55)
    return picture


def _tile(c: Canvas) -> Field:
    rows, columns = c.at.x.shape
    slant = (c.at.x + c.at.y) / float(rows + columns)
    colours = blend(plain(c.at, INDIGO), TEAL, slant)
    shape = box(c.at, (columns / 2.0, rows / 2.0), (0.46 * columns, 0.46 * rows), round_by=0.22 * columns)
    return blend(plain(c.at, CREAM), colours, cover(shape))
