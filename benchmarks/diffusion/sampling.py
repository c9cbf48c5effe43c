"""Pictures from prompts: DDIM with classifier-free guidance, each picture from a noise of its own number.

    v = v(empty) + g (v(prompt) - v(empty))

The noise of picture number k is drawn on the CPU from a generator seeded with k, so that every method and every batch
size starts from the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.diffusion.noise import sample
from benchmarks.diffusion.pixels import to_pixels
from benchmarks.diffusion.prompts import PromptEncoder, Prompts


def picture_noise(number: int, shape: Sequence[int]) -> Tensor:
    """Return the noise of a picture, normal, of a shape without rows."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(number))


def sample_pictures(
    unet: Any,
    encode: PromptEncoder,
    texts: Sequence[str],
    numbers: Sequence[int],
    *,
    count: int,
    guidance: float,
    batch_size: int = 64,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> NDArray[np.uint8]:
    """Return one picture for every prompt, uint8 (rows, 3, side, side).

    Args:
        unet: A `DenoisingUNet` with or without active adapters, in evaluation mode.
        encode: Its prompts.
        texts: The prompts.
        numbers: The number of each picture, which its noise is drawn from.
        count: Sampling steps.
        guidance: g; 1 follows the prompt without guidance, at half the cost.
        batch_size: Pictures at a time.
        on_progress: Called with the finished share.
    """
    config = unet.config
    shape = (config["in_channels"], config["sample_size"], config["sample_size"])
    found = []
    for start in range(0, len(texts), batch_size):
        prompts = encode(texts[start : start + batch_size])
        noise = torch.stack([picture_noise(number, shape) for number in numbers[start : start + batch_size]])
        predict = _guided(unet, prompts, encode([""] * len(noise)), guidance)
        with torch.inference_mode():
            device = prompts.text.device
            places = sample(predict, noise.to(device), count=count, shares=unet.signal_shares)
        found.append(to_pixels(places))
        on_progress(min(1.0, (start + batch_size) / len(texts)))
    return np.concatenate(found)


def _guided(unet: Any, prompts: Prompts, empty: Prompts, guidance: float) -> Callable[[Tensor, int], Tensor]:
    asked = prompts if guidance == 1 else empty.joined(prompts)

    def predict(z: Tensor, step: int) -> Tensor:
        rows = z if guidance == 1 else torch.cat([z, z])
        found: Tensor = unet.predict(
            rows, torch.full((len(rows),), step, device=z.device), asked.text, asked.pooled, asked.numbers
        )
        if guidance == 1:
            return found
        without, following = found.chunk(2)
        return without + guidance * (following - without)

    return predict
