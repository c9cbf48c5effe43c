"""Pictures from prompts as SDXL draws them: the model's own sampler in the latent space, then the autoencoder.

    e = e(empty) + g (e(prompt) - e(empty))

with e what the network predicts (Ho and Salimans 2022, arXiv 2207.12598). This is the loop of diffusers'
`StableDiffusionXLPipeline`, with latents in float32 whatever the type of the weights. The noise of picture number k is
drawn on the CPU from a generator seeded with k, so that every method starts from the same noise; where a sampler draws
noise of its own on the way, it comes from the same generator. One picture at a time: two rows of 128 x 128 latents fill
a GPU, and no picture depends on its company.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.diffusion.prompts import Prompts
from benchmarks.diffusion.replay import Replayed
from benchmarks.diffusion.sdxl import Sdxl


def picture_numbers(side: int) -> Tensor:
    """Return what SDXL is told of a picture that is drawn whole at its size, (1, 6)."""
    return torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32)


def draw_pictures(
    unet: Any,
    around: Sdxl,
    texts: Sequence[str],
    numbers: Sequence[int],
    *,
    side: int,
    count: int,
    guidance: float,
    keep: Callable[[int, NDArray[np.uint8]], None],
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Draw one picture for every prompt and give each to `keep` as it is finished.

    Args:
        unet: A `DenoisingUNet` with or without active adapters, in evaluation mode.
        around: What stands around it.
        texts: The prompts.
        numbers: The number of each picture, which its noise is drawn from.
        side: Of the pictures, in pixels.
        count: Sampling steps.
        guidance: g; 1 follows the prompt without guidance, at half the cost.
        keep: Called with the place of a picture and the picture, uint8 (3, side, side).
        on_progress: Called with the finished share.
    """
    device = unet.conv_in.weight.device
    predict = Replayed(unet.predict)
    # All prompts first: the text encoders and the autoencoder need not be on the device together.
    around.prompts.read([*texts, ""])
    asked = {text: _conditions(around, text, side, guidance, device) for text in dict.fromkeys(texts)}
    with around.latents.working():
        for place, (text, number) in enumerate(zip(texts, numbers, strict=True)):
            generator = torch.Generator().manual_seed(number)
            shape = (1, around.latents.channels, side // around.latents.pixels, side // around.latents.pixels)
            noise = torch.randn(shape, generator=generator)
            latents = denoise(
                predict, around.scheduler, asked[text], noise, count=count, guidance=guidance, generator=generator
            )
            keep(place, around.latents.decode(latents[0]).numpy())
            on_progress((place + 1) / len(texts))


def _conditions(around: Sdxl, text: str, side: int, guidance: float, device: torch.device) -> Prompts:
    rows = [around.prompts.encode(text)]
    if guidance != 1:
        rows.insert(0, around.prompts.unguided())
    states, pooled = (torch.stack(parts).to(device) for parts in zip(*rows, strict=True))
    return Prompts(states, pooled, picture_numbers(side).to(device).repeat(len(rows), 1))


def denoise(
    predict: Callable[..., Tensor],
    scheduler: Any,
    asked: Prompts,
    noise: Tensor,
    *,
    count: int,
    guidance: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the latents that a sampler makes of noise.

    Args:
        predict: `DenoisingUNet.predict` of a network in evaluation mode.
        scheduler: A scheduler of diffusers.
        asked: The prompt, after what guidance leads away from if there is guidance.
        noise: Normal, (1, channels, side, side), on the CPU.
        count: Sampling steps.
        guidance: g.
        generator: Of the noise that the sampler may draw.
    """
    device = asked.text.device
    scheduler.set_timesteps(count, device=device)
    accepted = inspect.signature(scheduler.step).parameters
    more = {"generator": generator} if "generator" in accepted else {}
    latents: Tensor = noise.to(device) * scheduler.init_noise_sigma
    with torch.inference_mode():
        for step in scheduler.timesteps:
            rows = scheduler.scale_model_input(torch.cat([latents] * len(asked.text)), step)
            found = predict(rows, step, asked.text, asked.pooled, asked.numbers).float()
            if guidance != 1:
                without, following = found.chunk(2)
                found = without + guidance * (following - without)
            latents = scheduler.step(found, step, latents, **more, return_dict=False)[0]
    return latents
