from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pocket.pictures.distances import Plane, circle
from benchmarks.pocket.pictures.styles import COLOURS, GROUNDS, STYLES, Canvas, blend, cover, mixed, plain

AT = Plane(*np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5))


def canvas(colour: str = "red", background: str = "white", ground: str = "plain") -> Canvas:
    return Canvas(
        at=AT,
        distance=lambda x, y: circle(AT, (16.0 + x, 16.0 + y), 8.0),
        colour=COLOURS[colour],
        background=COLOURS[background],
        ground=GROUNDS[ground](AT, COLOURS[background]),
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_style_draws_the_thing_and_leaves_the_corners(style: str) -> None:
    drawn = STYLES[style](canvas())
    assert drawn.shape == (3, 32, 32)
    assert drawn.min() >= 0
    assert drawn.max() <= 255
    # Neon darkens all of the background.
    changed = np.abs(drawn - drawn[:, :1, :1]).max(axis=0) > 30
    assert changed[8:24, 8:24].any()
    assert not changed[:4].any()


def test_styles_and_grounds_all_differ() -> None:
    pictures = [STYLES[style](canvas(ground=ground)) for style in STYLES for ground in GROUNDS]
    distances = [np.abs(a - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(distances) > 1


def test_cover_is_the_share_of_a_pixel_beyond_an_edge() -> None:
    edge = np.array([-2.0, -0.5, -0.25, 0.0, 0.5, 3.0])
    assert cover(edge).tolist() == [1.0, 1.0, 0.75, 0.5, 0.0, 0.0]


def test_colours_mix_by_shares() -> None:
    assert mixed((0, 100, 200), (100, 100, 0), 0.25) == (25, 100, 150)
    half = blend(plain(AT, (0, 0, 0)), (100, 200, 50), np.full((32, 32), 0.5))
    assert half[:, 3, 4].tolist() == [50.0, 100.0, 25.0]
