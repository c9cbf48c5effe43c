"""How a thing is drawn: the eight styles that the base learns.

A style gets the signed distance of the thing in pixels, so that lines are equally thick at every size, and returns a
picture in 0 to 255. As in `distances`, only operations that round the same on every machine are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.pocket.pictures.distances import Field, Plane, box

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (244, 140, 20),
    "yellow": (250, 214, 40),
    "green": (50, 160, 70),
    "cyan": (40, 190, 205),
    "blue": (40, 80, 210),
    "purple": (130, 60, 180),
    "pink": (245, 130, 180),
    "brown": (130, 82, 45),
    "white": (248, 248, 248),
    "gray": (140, 140, 145),
    "black": (22, 22, 26),
}
_WHITE, _BLACK = COLOURS["white"], COLOURS["black"]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a style draws from.

    Attributes:
        at: Coordinates of the pixels, in pixels from the upper left corner.
        distance: Gives the signed distance of the thing in pixels, shifted by (x, y) pixels.
        colour: Of the thing.
        background: Of what lies behind it.
        ground: What lies behind it, (3, side, side).
    """

    at: Plane
    distance: Callable[[float, float], Field]
    colour: Colour
    background: Colour
    ground: Field


def cover(distance: Field) -> Field:
    """Return the share of each pixel that a figure covers, from its signed distance in pixels."""
    return np.minimum(np.maximum(0.5 - distance, 0.0), 1.0)


def plain(at: Plane, colour: Colour) -> Field:
    """Return a picture of one colour, (3, side, side)."""
    rows, columns = at.x.shape
    return np.broadcast_to(np.array(colour, dtype=np.float64)[:, None, None], (3, rows, columns))


def blend(below: Field, above: Field | Colour, share: Field) -> Field:
    """Return `below` with `above` laid over it where `share` (side, side) says so."""
    top = above if isinstance(above, np.ndarray) else np.array(above, dtype=np.float64)[:, None, None]
    found: Field = below + (top - below) * share
    return found


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return a colour between two."""
    red, green, blue = (int(a + (b - a) * share + 0.5) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _shaded(at: Plane, colour: Colour) -> Field:
    """From the colour at the upper left to a much darker one, of black to a lighter one."""
    rows, columns = at.x.shape
    end = mixed(colour, _BLACK if colour != _BLACK else _WHITE, 0.6)
    return blend(plain(at, colour), end, (at.x + at.y) / float(rows + columns))


def _framed(at: Plane, colour: Colour) -> Field:
    """A paler frame around it, of white a darker one."""
    rows, columns = at.x.shape
    frame = mixed(colour, _WHITE if colour != _WHITE else _BLACK, 0.5)
    inner = box(at, (columns / 2.0, rows / 2.0), (0.42 * columns, 0.42 * rows))
    return blend(plain(at, frame), colour, cover(inner))


#: What a background of a colour looks like.
GROUNDS: dict[str, Callable[[Plane, Colour], Field]] = {"plain": plain, "shaded": _shaded, "framed": _framed}


def _flat(c: Canvas) -> Field:
    return blend(c.ground, c.colour, cover(c.distance(0.0, 0.0)))


def _outline(c: Canvas) -> Field:
    return blend(c.ground, c.colour, cover(np.abs(c.distance(0.0, 0.0)) - 0.9))


def _cartoon(c: Canvas) -> Field:
    distance = c.distance(0.0, 0.0)
    line = _WHITE if c.background == _BLACK or c.colour == _BLACK else _BLACK
    filled = blend(c.ground, c.colour, cover(distance))
    return blend(filled, line, cover(np.abs(distance) - 0.8))


def _mosaic(c: Canvas) -> Field:
    """Blocks of two by two pixels, each wholly of one colour."""
    hard = (c.distance(0.0, 0.0)[::2, ::2] < 0.0).astype(np.float64)
    return blend(c.ground, c.colour, hard.repeat(2, axis=0).repeat(2, axis=1))


def _striped(c: Canvas) -> Field:
    stripes = (np.floor((c.at.x + c.at.y) / 3.0) % 2.0 == 0.0).astype(np.float64)
    pattern = blend(plain(c.at, c.colour), mixed(c.colour, _WHITE if c.colour != _WHITE else _BLACK, 0.6), stripes)
    return blend(c.ground, pattern, cover(c.distance(0.0, 0.0)))


def _shadow(c: Canvas) -> Field:
    shade = np.minimum(np.maximum(0.5 - c.distance(2.2, 2.2) / 3.0, 0.0), 1.0) * 0.7
    dark = mixed(c.background, _BLACK if c.background != _BLACK else _WHITE, 0.6)
    return blend(blend(c.ground, dark, shade), c.colour, cover(c.distance(0.0, 0.0)))


def _neon(c: Canvas) -> Field:
    """A bright contour with a glow, on the background much darkened."""
    distance = np.abs(c.distance(0.0, 0.0))
    glow = 1.0 / (1.0 + distance * distance / 4.0)
    night = blend(c.ground, _BLACK, np.full(distance.shape, 0.8))
    night = blend(night, c.colour, glow * 0.8)
    return blend(night, mixed(c.colour, _WHITE, 0.6), cover(distance - 0.5))


def _chalk(c: Canvas) -> Field:
    """Grains of pale colour on the background, thinner outside the thing; grains lie where a hash says so."""
    column, row = np.floor(c.at.x).astype(np.int64), np.floor(c.at.y).astype(np.int64)
    grain = ((column * 73 + row * 151 + column * row * 31) % 16).astype(np.float64) / 15.0
    pale = mixed(c.colour, _WHITE if c.colour != _WHITE else _BLACK, 0.25)
    return blend(c.ground, pale, cover(c.distance(0.0, 0.0)) * (0.35 + 0.65 * grain))


STYLES: dict[str, Callable[[Canvas], Field]] = {
    "flat": _flat,
    "outline": _outline,
    "cartoon": _cartoon,
    "mosaic": _mosaic,
    "striped": _striped,
    "shadow": _shadow,
    "neon": _neon,
    "chalk": _chalk,
}
