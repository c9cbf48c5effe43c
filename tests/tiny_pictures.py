"""A tiny text-to-image base, as the pocket recipe builds it."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.diffusion.folder import save_base
from benchmarks.diffusion.unet import DenoisingUNet
from benchmarks.pocket.pictures.words import build_tokenizer
from benchmarks.pocket.sdxl_architecture import SMOKE_SDXL, build_text_encoder, build_unet


def tiny_unet(seed: int = 0) -> DenoisingUNet:
    torch.manual_seed(seed)
    return build_unet(SMOKE_SDXL).eval()


def save_tiny_text_to_image(folder: Path, *, seed: int = 0) -> Path:
    unet = tiny_unet(seed)
    save_base(folder, unet, build_text_encoder(SMOKE_SDXL), build_tokenizer())
    return folder


def tiny_batch(rows: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=generator)

    return {
        "clean": normal(12, 16, 16).clamp(-1, 1),
        "noise": normal(12, 16, 16),
        "steps": torch.linspace(10, 999, rows).long(),
        "text": normal(20, 16),
        "pooled": normal(16),
        "numbers": torch.tensor([[32.0, 32, 0, 0, 32, 32]]).repeat(rows, 1),
    }
