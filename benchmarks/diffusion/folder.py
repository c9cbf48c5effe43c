"""A text-to-image base as a folder: `unet`, `text_encoder` and `tokenizer`, each as its library saves it.

Pictures have no autoencoder (see `pixels`) and the noise schedule is that of `noise`, so neither is stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, CLIPTextModelWithProjection

from benchmarks.diffusion.pixels import PATCH
from benchmarks.diffusion.prompts import PromptEncoder
from benchmarks.diffusion.unet import DenoisingUNet

UNET, TEXT_ENCODER, TOKENIZER = "unet", "text_encoder", "tokenizer"


def load_base(folder: Path, *, device: torch.device) -> tuple[DenoisingUNet, PromptEncoder]:
    """Load a base in fp32, in evaluation mode.

    Raises:
        OSError: If a part is missing or cannot be read.
        ValueError: Likewise.
    """
    unet = DenoisingUNet.from_pretrained(
        folder / UNET, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )
    encoder = CLIPTextModelWithProjection.from_pretrained(
        folder / TEXT_ENCODER, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / TOKENIZER, local_files_only=True)
    encode = PromptEncoder(tokenizer, encoder.to(device).eval(), side=unet.config["sample_size"] * PATCH)
    return unet.to(device).eval(), encode


def skeleton(folder: Path) -> DenoisingUNet:
    """Return a base's UNet without weights, for the names of its modules."""
    with torch.device("meta"):
        unet: DenoisingUNet = DenoisingUNet.from_config(DenoisingUNet.load_config(folder / UNET, local_files_only=True))
    return unet


def save_base(folder: Path, unet: Any, encoder: Any, tokenizer: Any) -> None:
    """Save the parts of a base, the weights as they are."""
    unet.save_pretrained(folder / UNET, safe_serialization=True)
    encoder.save_pretrained(folder / TEXT_ENCODER)
    tokenizer.save_pretrained(folder / TOKENIZER)
