"""What the snippets of several pages train and measure: a random Llama of two layers, and three batches.

Small enough for a dense Hessian of one adapted matrix. `make_model` gives the same weights every time, so that methods
can be compared weight by weight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 32


def make_model() -> LlamaForCausalLM:
    """Return a Llama of about 7,000 parameters, always with the same weights; the global generator stays as it was."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


def make_batches(count: int = 3, *, size: int = 16, length: int = 8) -> list[dict[str, Tensor]]:
    """Return `count` batches of `size` rows of random tokens; the first three tokens of a row are not scored."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, VOCABULARY, (size, length), generator=generator) for _ in range(count)]
    scored = torch.arange(length) >= 3
    return [{"input_ids": ids, "labels": torch.where(scored, ids, -100)} for ids in rows]
