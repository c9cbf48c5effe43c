from __future__ import annotations

import numpy as np
import torch

from benchmarks.diffusion.pixels import to_pixels, to_places


def test_pictures_come_back_bit_by_bit() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    places = to_places(torch.from_numpy(pixels))
    assert places.shape == (3, 12, 16, 16)
    assert places.abs().max() <= 1
    assert np.array_equal(to_pixels(places), pixels)


def test_a_place_holds_its_two_by_two_pixels() -> None:
    pixels = torch.zeros(1, 3, 4, 4)
    pixels[0, 1, 2:, :2] = 255.0
    places = to_places(pixels)
    assert places[0, 4:8, 1, 0].tolist() == [1.0] * 4
    assert (places == 1).sum() == 4
