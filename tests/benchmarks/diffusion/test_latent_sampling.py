"""Drawn pictures against `StableDiffusionXLPipeline` from the same noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from benchmarks.diffusion.latent_sampling import draw_pictures
from benchmarks.diffusion.sdxl import load_sdxl
from tests.tiny_sdxl import SIDE, save_sdxl, tiny_sdxl

CPU = torch.device("cpu")
TEXTS = ["a ToK icon of a curly cloud, in the style of ToK", "a smiling sun"]


def drawn(folder: Path, *, guidance: float, numbers: tuple[int, ...] = (3, 4)) -> np.ndarray[Any, Any]:
    unet, around = load_sdxl(folder, device=CPU, dtype=torch.float32)
    found: list[Any] = []
    draw_pictures(
        unet,
        around,
        TEXTS,
        numbers,
        side=SIDE,
        count=4,
        guidance=guidance,
        keep=lambda place, picture: found.append(picture),
    )
    return np.stack(found)


def by_the_pipeline(folder: Path, *, guidance: float, number: int, text: str) -> np.ndarray[Any, Any]:
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(number)
    latents = torch.randn(1, 4, SIDE // 2, SIDE // 2, generator=generator)
    shown = pipeline(
        text,
        height=SIDE,
        width=SIDE,
        num_inference_steps=4,
        guidance_scale=guidance,
        latents=latents,
        generator=generator,
        output_type="np",
    ).images[0]
    return np.asarray(np.round(shown.transpose(2, 0, 1) * 255), dtype=np.int64)


@pytest.mark.parametrize(
    ("scheduler", "predicts", "guidance"),
    [
        ("EulerDiscreteScheduler", "epsilon", 5.0),
        ("EulerDiscreteScheduler", "epsilon", 1.0),
        ("EulerDiscreteScheduler", "v_prediction", 5.0),
        ("EulerAncestralDiscreteScheduler", "epsilon", 5.0),
        ("DPMSolverMultistepScheduler", "epsilon", 5.0),
        ("DDIMScheduler", "epsilon", 5.0),
    ],
)
def test_a_picture_is_the_pipeline_s(tmp_path: Path, scheduler: str, predicts: str, guidance: float) -> None:
    pipeline = tiny_sdxl(predicts=predicts)
    pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config)
    folder = save_sdxl(tmp_path, pipeline)
    found = drawn(folder, guidance=guidance)
    for index, text in enumerate(TEXTS):
        wanted = by_the_pipeline(folder, guidance=guidance, number=(3, 4)[index], text=text)
        # Rounded to whole values from sums in another order.
        assert np.abs(found[index] - wanted).max() <= 1
        assert found[index].std() > 1


def test_pictures_follow_their_number(tmp_path: Path) -> None:
    folder = save_sdxl(tmp_path)
    first, other = drawn(folder, guidance=5.0), drawn(folder, guidance=5.0, numbers=(3, 5))
    assert np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])
