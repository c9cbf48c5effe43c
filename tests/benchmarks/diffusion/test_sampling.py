from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.diffusion.folder import load_base
from benchmarks.diffusion.sampling import picture_noise, sample_pictures
from tests.tiny_pictures import save_tiny_text_to_image

TEXTS = ["a red moon", "a blue star", "a green tree"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_base(save_tiny_text_to_image(tmp_path_factory.mktemp("base")), device=torch.device("cpu"))


def test_pictures_depend_on_prompt_and_number_and_not_on_the_batch(base: Any) -> None:
    whole = sample_pictures(*base, TEXTS, [4, 5, 6], count=3, guidance=2.0)
    assert whole.shape == (3, 3, 32, 32)
    assert whole.dtype == np.uint8
    apart = sample_pictures(*base, TEXTS, [4, 5, 6], count=3, guidance=2.0, batch_size=1)
    # Sums in another order may round a value to the next level.
    assert np.abs(whole.astype(int) - apart).max() <= 1
    other = sample_pictures(*base, TEXTS, [7, 5, 6], count=3, guidance=2.0)
    assert np.abs(whole.astype(int) - other)[0].mean() > 1
    assert np.abs(whole.astype(int) - other)[1:].max() <= 1


def test_guidance_one_follows_the_prompt_alone(base: Any) -> None:
    unet, encode = base
    asked = []

    class Listening:
        config, signal_shares = unet.config, unet.signal_shares

        def predict(self, z: Any, *rest: Any) -> Any:
            asked.append(len(z))
            return unet.predict(z, *rest)

    plain = sample_pictures(Listening(), encode, TEXTS, [0, 1, 2], count=2, guidance=1.0)
    assert asked == [3, 3]
    nearly = sample_pictures(Listening(), encode, TEXTS, [0, 1, 2], count=2, guidance=1.0 + 1e-6)
    assert asked[2:] == [6, 6]
    assert np.abs(plain.astype(int) - nearly).max() <= 1


def test_noise_is_a_function_of_the_number() -> None:
    assert torch.equal(picture_noise(3, (2, 4)), picture_noise(3, (2, 4)))
    assert not torch.equal(picture_noise(3, (2, 4)), picture_noise(4, (2, 4)))
    assert picture_noise(0, (1000,)).std().item() == pytest.approx(1, abs=0.1)
