from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.diffusion.drawing_cost import main, time_drawing
from benchmarks.diffusion.sdxl import load_sdxl
from benchmarks.model_shapes import SHAPES
from tests.tiny_sdxl import SIDE, save_sdxl


def test_pictures_are_timed_on_both_paths(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    unet, around = load_sdxl(save_sdxl(tmp_path), device=cpu, dtype=torch.float32)
    found = time_drawing(unet, around.latents, around.scheduler, side=SIDE, steps=2, pictures=3, device=cpu)
    assert [(cost.path, cost.steps, cost.peak_gb) for cost in found] == [("replayed", 2, None), ("called", 2, None)]
    assert all(cost.seconds > 0 and cost.decode_seconds > 0 and cost.first_seconds > 0 for cost in found)


def test_the_shape_is_that_of_sdxl_base() -> None:
    # What its card says, 2.6 billion, and its file's own names.
    unet = SHAPES["sdxl-unet"].empty(torch.bfloat16).unet
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684
    config = unet.config
    assert config.cross_attention_dim == 768 + 1280
    assert config.projection_class_embeddings_input_dim == 1280 + 6 * config.addition_time_embed_dim


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pictures", "1"], "--pictures: found '1'; expected a whole number of at least 2"),
        (["--side", "100"], "--side: found '100'; expected a multiple of 8"),
        (["--steps", "0"], "--steps: found '0'; expected a whole number of at least 1"),
        (["--out", "nowhere/cost.json"], "--out: the folder of nowhere/cost.json does not exist"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_made(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
