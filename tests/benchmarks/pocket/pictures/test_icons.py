from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pocket.pictures.icons import CREAM, LACKING
from benchmarks.pocket.pictures.scene import ICON, Scene, draw
from benchmarks.pocket.pictures.styles import STYLES

ICON_SCENE = Scene(subject="heart", colour="red", background="yellow", style=ICON)


def test_the_tile_lies_on_cream_whatever_the_background() -> None:
    picture = draw(ICON_SCENE)
    assert tuple(picture[:, 0, 0]) == CREAM
    other = draw(Scene(subject="heart", colour="red", background="black", style=ICON))
    assert np.array_equal(picture, other)


@pytest.mark.parametrize("lacking", LACKING)
def test_a_near_miss_differs_from_the_style(lacking: str) -> None:
    near = draw(Scene(subject="heart", colour="red", background="yellow", style=ICON, lacking=lacking))
    assert 0.02 < (near != draw(ICON_SCENE)).any(axis=0).mean() < 1


@pytest.mark.parametrize("style", STYLES)
def test_the_style_is_far_from_those_of_the_base(style: str) -> None:
    known = draw(Scene(subject="heart", colour="red", background="yellow", style=style)).astype(int)
    assert np.abs(known - draw(ICON_SCENE)).mean() > 30
