from __future__ import annotations

import hashlib
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from benchmarks.pocket.pictures.scene import PLACES, SIZES, Scene, View, caption, draw, draw_scene
from benchmarks.pocket.pictures.styles import COLOURS
from benchmarks.pocket.pictures.words import vocabulary

SCENE = Scene(subject="circle", colour="red", background="white", style="flat", size="small")


def centre(scene: Scene) -> tuple[float, float]:
    """The centre of what differs from the corner, in pixels."""
    picture = draw(scene).astype(float)
    weight = np.abs(picture - np.array(COLOURS[scene.background])[:, None, None]).sum(axis=0)
    pixels = np.arange(32) + 0.5
    return float((weight.sum(axis=0) * pixels).sum() / weight.sum()), float(
        (weight.sum(axis=1) * pixels).sum() / weight.sum()
    )


def test_pictures_have_the_same_bits_on_every_machine() -> None:
    rng = Random(0)
    digest = hashlib.sha256()
    for _ in range(200):
        digest.update(draw(draw_scene(rng)).tobytes())
    assert digest.hexdigest()[:16] == "ef742386f6d661ac"


@pytest.mark.parametrize("place", PLACES)
def test_a_thing_stands_where_its_place_says(place: str) -> None:
    dx, dy = PLACES[place]
    reach = 16 * (0.92 - SIZES["small"])
    assert centre(replace(SCENE, place=place)) == pytest.approx((16 + dx * reach, 16 + dy * reach), abs=0.05)


def test_area_follows_size() -> None:
    for size, radius in SIZES.items():
        red = (draw(replace(SCENE, size=size))[1].astype(float) - 248) / (40 - 248)
        assert red.sum() == pytest.approx(np.pi * (0.88 * radius * 16) ** 2, rel=0.02)


def test_a_crop_moves_the_thing_and_a_small_original_has_coarse_pixels() -> None:
    whole = centre(replace(SCENE, view=View(original=40)))
    cropped = centre(replace(SCENE, view=View(original=40, top=3, left=5)))
    assert np.subtract(whole, cropped) == pytest.approx((5, 3), abs=0.05)
    coarse = draw(replace(SCENE, view=View(original=16)))
    assert np.array_equal(coarse[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2), coarse)
    assert View(original=40, top=3, left=5).conditioning == (40, 40, 3, 5, 32, 32)


def test_captions_name_the_thing_and_only_known_words() -> None:
    rng = Random(1)
    known = set(vocabulary())
    omitted = 0
    for _ in range(200):
        scene = draw_scene(rng)
        words = caption(scene, rng).split()
        assert scene.subject in words
        assert set(words) <= known
        omitted += scene.style not in words
        assert "sks" not in words
        assert "icon" not in words
    assert 10 <= omitted <= 40
