"""Models of published shapes with random weights, made on the device where they are timed.

Time and memory of a step depend on shapes and types alone, so nothing is downloaded: a shape is its configuration.
A model of eight billion weights is never made on the CPU first. Each comes with the linear layers that LoRA usually
adapts and with a batch of its own kind; `model(**batch).loss` is what is trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    Qwen2Config,
    T5Config,
)

from benchmarks.curvature.shapes import LlamaShape
from benchmarks.errors import UsageError

Batch = dict[str, Tensor]
Build = Callable[[torch.dtype, int | None], nn.Module]
_LLAMA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A model without its weights.

    Attributes:
        block: Class of the layers it repeats.
        layers: How many there are; of an encoder-decoder in each of the two, of the UNet in its deepest blocks.
        build: `build(dtype, layers)` makes the model with random weights on the current default device; with only so
            many of its layers if they are given.
        batch: `batch(rows, tokens, generator)` -> inputs with labels, on the CPU.
        target_modules: The linear layers that are adapted.
        task_type: PEFT's name of the kind of model; None for one that PEFT has none for.
        published: Tables of the Bi-LoRA paper that print step times of this model.
    """

    block: str
    layers: int
    build: Build
    batch: Callable[[int, int, torch.Generator], Batch]
    target_modules: tuple[str, ...]
    task_type: str | None
    published: tuple[str, ...] = ()

    def on(self, device: torch.device, dtype: torch.dtype, *, layers: int | None = None, seed: int = 0) -> nn.Module:
        """Return the model on a device, in training mode, with the same weights for the same seed."""
        torch.manual_seed(seed)
        with device:
            return self.build(dtype, layers).train()

    def empty(self, dtype: torch.dtype, *, layers: int | None = None) -> nn.Module:
        """Return the model without memory for its weights, to count them."""
        with torch.device("meta"):
            return self.build(dtype, layers)


class DenoisingLoss(nn.Module):
    """A diffusion UNet with the loss it is trained on: the squared error of the noise it predicts."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self, sample: Tensor, timestep: Tensor, text: Tensor, pooled: Tensor, times: Tensor, noise: Tensor
    ) -> SimpleNamespace:
        """Return the loss as an attribute, as language models do.

        Args:
            sample: Noised latents, (rows, channels, side, side).
            timestep: (rows,).
            text: Hidden states of the prompt, (rows, words, width).
            pooled: One vector of the prompt for each row.
            times: SDXL's six numbers of size and crop, (rows, 6).
            noise: What is to be predicted, of the sample's shape.
        """
        found = self.unet(
            sample, timestep, encoder_hidden_states=text, added_cond_kwargs={"text_embeds": pooled, "time_ids": times}
        ).sample
        return SimpleNamespace(loss=functional.mse_loss(found.float(), noise.float()))


def transformer(family: Any, config: PretrainedConfig) -> Build:
    """Return what makes a model of transformers from its configuration."""

    def build(dtype: torch.dtype, layers: int | None) -> nn.Module:
        cut = copy.deepcopy(config)
        for name in ("num_hidden_layers", "num_decoder_layers") if layers is not None else ():
            if hasattr(cut, name):
                setattr(cut, name, layers)
        model: nn.Module = family.from_config(cut, dtype=dtype)
        return model

    return build


def _sdxl(dtype: torch.dtype, layers: int | None) -> nn.Module:
    try:
        from diffusers import UNet2DConditionModel
    except ImportError:
        raise UsageError("--model sdxl-unet needs diffusers; pip install '.[sdxl]'") from None
    unet = UNet2DConditionModel(
        sample_size=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280),
        transformer_layers_per_block=(1, 2, 10 if layers is None else layers),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
    )
    return DenoisingLoss(unet).to(dtype)


def language_batch(vocabulary: int) -> Callable[[int, int, torch.Generator], Batch]:
    """Return what makes random tokens, each row its own labels."""

    def batch(rows: int, tokens: int, generator: torch.Generator) -> Batch:
        ids = torch.randint(0, vocabulary, (rows, tokens), generator=generator)
        return {"input_ids": ids, "labels": ids}

    return batch


def _latents(rows: int, tokens: int, generator: torch.Generator) -> Batch:
    side = math.isqrt(tokens)
    if side * side != tokens or side % 4:
        raise UsageError(f"--shapes: a UNet's tokens are its latents, a square of a multiple of 4; found {tokens}")

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "sample": normal(rows, 4, side, side),
        "timestep": torch.randint(0, 1000, (rows,), generator=generator),
        "text": normal(rows, 77, 2048),
        "pooled": normal(rows, 1280),
        "times": torch.tensor([8 * side, 8 * side, 0, 0, 8 * side, 8 * side]).repeat(rows, 1),
        "noise": normal(rows, 4, side, side),
    }


SHAPES: dict[str, ModelShape] = {
    "llama-2-7b": ModelShape(
        block="LlamaDecoderLayer",
        layers=32,
        build=transformer(AutoModelForCausalLM, LlamaShape(intermediate=11008, kv_heads=32, vocabulary=32000).config()),
        batch=language_batch(32000),
        target_modules=_LLAMA_LAYERS,
        task_type="CAUSAL_LM",
        published=("A16",),
    ),
    "llama-3.1-8b": ModelShape(
        block="LlamaDecoderLayer",
        layers=32,
        build=transformer(AutoModelForCausalLM, LlamaShape().config()),
        batch=language_batch(128256),
        target_modules=_LLAMA_LAYERS,
        task_type="CAUSAL_LM",
        published=("7", "A17"),
    ),
    "qwen2.5-14b": ModelShape(
        block="Qwen2DecoderLayer",
        layers=48,
        build=transformer(
            AutoModelForCausalLM,
            Qwen2Config(
                vocab_size=152064,
                hidden_size=5120,
                intermediate_size=13824,
                num_hidden_layers=48,
                num_attention_heads=40,
                num_key_value_heads=8,
                use_cache=False,
            ),
        ),
        batch=language_batch(152064),
        target_modules=_LLAMA_LAYERS,
        task_type="CAUSAL_LM",
        published=("A18",),
    ),
    # The one of 2020, with as many target tokens as source tokens.
    "t5-base": ModelShape(
        block="T5Block",
        layers=12,
        build=transformer(
            AutoModelForSeq2SeqLM,
            T5Config(
                vocab_size=32128,
                d_model=768,
                d_kv=64,
                d_ff=3072,
                num_layers=12,
                num_heads=12,
                decoder_start_token_id=0,
                use_cache=False,
            ),
        ),
        batch=language_batch(32128),
        target_modules=("q", "k", "v", "o", "wi", "wo"),
        task_type="SEQ_2_SEQ_LM",
        published=("A14", "A15"),
    ),
    "sdxl-unet": ModelShape(
        block="BasicTransformerBlock",
        layers=10,
        build=_sdxl,
        batch=_latents,
        target_modules=("to_q", "to_k", "to_v", "to_out.0"),
        task_type=None,
    ),
}
