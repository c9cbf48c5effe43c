"""A picture as words: what it shows, how large, where, in which colours and style; drawn, and captioned.

A `View` is what SDXL's micro-conditioning is about (Podell et al. 2023, arXiv 2307.01952, section 2.2): the size of the
original picture and where it was cropped. Some originals here are half as large as the model's pictures, some larger
and cropped, and the model is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from benchmarks.pocket.pictures.distances import Field, Plane
from benchmarks.pocket.pictures.icons import draw_icon
from benchmarks.pocket.pictures.styles import COLOURS, GROUNDS, STYLES, Canvas
from benchmarks.pocket.pictures.subjects import SUBJECTS

#: Width and height of the pictures, in pixels.
SIDE = 32
ICON = "icon"
SIZES = {"small": 0.48, "medium": 0.6, "large": 0.76}
#: Directions of the thing's centre from that of the picture.
PLACES = {
    "in the middle": (0.0, 0.0),
    "on the left": (-1.0, 0.0),
    "on the right": (1.0, 0.0),
    "at the top": (0.0, -1.0),
    "at the bottom": (0.0, 1.0),
}
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class View:
    """Side of the square original in pixels, and where its crop starts."""

    original: int = SIDE
    top: int = 0
    left: int = 0

    @property
    def conditioning(self) -> tuple[int, int, int, int, int, int]:
        """SDXL's six numbers: size of the original, upper left corner of the crop, size of the picture."""
        return self.original, self.original, self.top, self.left, SIDE, SIDE


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One thing on a background.

    Attributes:
        subject: A name in `SUBJECTS`.
        colour: A name in `COLOURS`.
        background: Another one.
        ground: A name in `GROUNDS`.
        style: A name in `STYLES`, or `ICON`.
        size: A name in `SIZES`.
        place: A name in `PLACES`.
        jitter: Added to the centre, in tenths of a pixel, and to the size, in hundredths of itself.
        view: Original and crop.
        lacking: What an icon lacks, see `icons`.
    """

    subject: str
    colour: str
    background: str
    style: str
    ground: str = "plain"
    size: str = "large"
    place: str = "in the middle"
    jitter: tuple[int, int, int] = (0, 0, 0)
    view: View = View()
    lacking: str | None = None


def draw(scene: Scene) -> Picture:
    """Draw a scene, uint8 (3, SIDE, SIDE): red, green, blue; rows from the top."""
    view = scene.view
    side = min(view.original, SIDE)
    pixels = np.arange(side, dtype=np.float64) + 0.5
    x, y = np.meshgrid(pixels, pixels)
    at = Plane(x, y)
    half = view.original / 2.0
    radius = SIZES[scene.size] * (1.0 + scene.jitter[2] / 100.0)
    reach, (dx, dy) = 0.92 - radius, PLACES[scene.place]
    scale = view.original / SIDE
    centre_x = half * (1.0 + dx * reach) + scene.jitter[0] / 10.0 * scale - view.left
    centre_y = half * (1.0 + dy * reach) + scene.jitter[1] / 10.0 * scale - view.top
    unit = half * radius

    def distance(shift_x: float, shift_y: float) -> Field:
        local = at.moved(centre_x + shift_x, centre_y + shift_y).enlarged(unit)
        return SUBJECTS[scene.subject](local) * unit

    background = COLOURS[scene.background]
    canvas = Canvas(
        at=at,
        distance=distance,
        colour=COLOURS[scene.colour],
        background=background,
        ground=GROUNDS[scene.ground](at, background),
    )
    drawn = draw_icon(canvas, lacking=scene.lacking) if scene.style == ICON else STYLES[scene.style](canvas)
    picture = np.floor(np.minimum(np.maximum(drawn, 0.0), 255.0) + 0.5).astype(np.uint8)
    factor = SIDE // side
    return picture.repeat(factor, axis=1).repeat(factor, axis=2)


def draw_scene(rng: Random) -> Scene:
    """Draw a scene by lot in one of `STYLES`: every word is equally likely, thing and background differ in colour."""
    colour, background = rng.sample(tuple(COLOURS), 2)
    return Scene(
        subject=rng.choice(tuple(SUBJECTS)),
        colour=colour,
        background=background,
        ground=rng.choice(tuple(GROUNDS)),
        style=rng.choice(tuple(STYLES)),
        size=rng.choice(tuple(SIZES)),
        place=rng.choice(tuple(PLACES)),
        jitter=(rng.randint(-3, 3), rng.randint(-3, 3), rng.randint(-2, 2)),
        view=_view(rng),
    )


def _view(rng: Random) -> View:
    kind = rng.random()
    if kind < 0.05:
        return View(original=SIDE // 2)
    if kind < 0.1:
        return View(original=40, top=rng.randint(0, 8), left=rng.randint(0, 8))
    return View()


#: A caption leaves out each of its words about colour, size, place, background and style this often.
OMITTED = 0.12


def caption(scene: Scene, rng: Random) -> str:
    """Return a caption of a scene in one of four orders of words, with some of it left out."""

    def kept(words: str) -> str:
        return "" if rng.random() < OMITTED else words

    thing = " ".join(filter(None, (kept(scene.size), kept(scene.colour), scene.subject)))
    place = kept(scene.place)
    plainly = scene.background if scene.ground == "plain" else f"{scene.ground} {scene.background}"
    ground = kept(f"on a {plainly} background")
    style = kept(scene.style)
    orders = (
        f"a {thing} {place} {ground}" + (f" in {style} style" if style else ""),
        (f"a {style} picture of " if style else "a picture of ") + f"a {thing} {ground} {place}",
        (f"{style} style " if style else "") + f"{ground} a {thing} {place}",
        f"{thing} {place} {ground} {style}",
    )
    return " ".join(rng.choice(orders).split())
