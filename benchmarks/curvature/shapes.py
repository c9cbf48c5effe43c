"""Llama models of any shape with random weights, made where they will run, and token batches for them.

Time and memory of a product depend on shapes and types alone, so nothing is downloaded. A model of eight billion
weights is never made on the CPU first: its weights are drawn on the accelerator, in their final type.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class LlamaShape:
    """The sizes of a Llama; the defaults are those of Llama 3.1 8B.

    Attributes:
        hidden: Width of the residual stream.
        intermediate: Width of the feed-forward layers.
        layers: Decoder layers.
        heads: Attention heads.
        kv_heads: Key and value heads.
        vocabulary: Tokens.
    """

    hidden: int = 4096
    intermediate: int = 14336
    layers: int = 32
    heads: int = 32
    kv_heads: int = 8
    vocabulary: int = 128256

    def config(self) -> LlamaConfig:
        """Return the shape as transformers builds it; weights start from N(0, 0.02^2)."""
        return LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=8192,
            initializer_range=0.02,
            use_cache=False,
        )


def random_llama(shape: LlamaShape, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    """Return a Llama with weights drawn from N(0, 0.02^2) on the device."""
    torch.manual_seed(seed)
    with device:
        model: nn.Module = AutoModelForCausalLM.from_config(shape.config(), dtype=dtype)
    return model.eval()


def decoder_weights(model: nn.Module) -> list[str]:
    """Return the names of the weights that LoRA usually adapts: all linears of the decoder layers."""
    return [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".layers." in name
    ]


def token_batches(
    shape: LlamaShape, *, rows: int, tokens: int, micro_rows: int, device: torch.device, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Return rows x tokens random tokens as micro-batches of at most `micro_rows` rows, labels included."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, shape.vocabulary, (rows, tokens), generator=generator).to(device)
    return [{"input_ids": part, "labels": part} for part in torch.split(ids, micro_rows)]
