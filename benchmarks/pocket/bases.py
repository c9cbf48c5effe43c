"""The pocket bases by name: what their shared recipe has to know of each.

A base is a shape, the sources it is trained on and in which shares, how a shard of its corpus is made, its loss, and
how it is evaluated. Everything else (tokenizer, loop, precision, record, card) is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import LlamaForCausalLM, T5ForConditionalGeneration

from benchmarks.pocket.architecture import (
    POCKET_LLAMA,
    POCKET_T5,
    SMOKE_LLAMA,
    SMOKE_T5,
    LlamaShape,
    T5Shape,
    build_llama,
    build_t5,
)
from benchmarks.pocket.corpus import SOURCE_SHARES, T5_SOURCE_SHARES, Rows, ShardRequest, build_shard
from benchmarks.pocket.curricula import T5_TOKEN_SHARES, TOKEN_SHARES
from benchmarks.pocket.evaluation import held_out_losses, held_out_pair_losses
from benchmarks.pocket.packed_pairs import pair_loss, pair_tokens
from benchmarks.pocket.pairs import SENTINELS, build_pair_shard
from benchmarks.pocket.training import next_token_loss, predicted_tokens


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pocket base.

    Attributes:
        shape: Its shape.
        smoke_shape: The shape for trying the recipe out.
        build: Builds a model of a shape, with random weights.
        model_class: Class that reads it back.
        shares: Share of the corpus's tokens by source.
        curricula: The sources that are curricula.
        sentinels: Number of its sentinels.
        build_shard: Builds a shard of its corpus.
        loss: `loss(model, rows)`, in nats per token.
        count: Tokens of a batch, as its budget counts them.
        held_out_losses: Losses by source, see `evaluation`.
        relative_rates: Whether learning rates are relative, see `training`.
        weight_decay: AdamW's; none at relative rates, which are several times as large for the embeddings.
    """

    shape: LlamaShape | T5Shape
    smoke_shape: LlamaShape | T5Shape
    build: Callable[[Any], Any]
    model_class: Any
    shares: Mapping[str, float]
    curricula: tuple[str, ...]
    sentinels: int
    build_shard: Callable[[ShardRequest], Rows]
    loss: Callable[[Any, Tensor], Tensor]
    count: Callable[[Rows], int]
    held_out_losses: Callable[..., dict[str, float]]
    relative_rates: bool
    weight_decay: float


BASES: dict[str, Base] = {
    "pocket-llama": Base(
        shape=POCKET_LLAMA,
        smoke_shape=SMOKE_LLAMA,
        build=build_llama,
        model_class=LlamaForCausalLM,
        shares=SOURCE_SHARES,
        curricula=tuple(TOKEN_SHARES),
        sentinels=0,
        build_shard=build_shard,
        loss=next_token_loss,
        count=predicted_tokens,
        held_out_losses=held_out_losses,
        relative_rates=False,
        weight_decay=0.1,
    ),
    "pocket-t5": Base(
        shape=POCKET_T5,
        smoke_shape=SMOKE_T5,
        build=build_t5,
        model_class=T5ForConditionalGeneration,
        shares=T5_SOURCE_SHARES,
        curricula=tuple(T5_TOKEN_SHARES),
        sentinels=len(SENTINELS),
        build_shard=build_pair_shard,
        loss=pair_loss,
        count=pair_tokens,
        held_out_losses=held_out_pair_losses,
        relative_rates=True,
        weight_decay=0.0,
    ),
}
