"""The loss of an encoder-decoder base on rows that hold several pairs of input and target.

Every pair sees itself alone: self-attention and cross-attention are masked by pair, and T5's position biases depend on
distances within a pair only. So packing changes what a step costs and nothing that is learned.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from transformers import T5ForConditionalGeneration

from benchmarks.pocket.corpus import BOS, EOS, PAD, Rows
from benchmarks.pocket.pairs import INPUT_TOKENS


def _numbers(tokens: Tensor) -> Tensor:
    """Return to which pair of its row every token belongs: how many ends stand before it."""
    ends = (tokens == EOS).long()
    return ends.cumsum(dim=1) - ends


def pair_loss(model: T5ForConditionalGeneration, rows: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the tokens of all targets, ends included; padding is ignored.

    Args:
        model: An encoder-decoder.
        rows: Rows of `pack_pairs` as whole numbers, shape (rows, `INPUT_TOKENS` + `TARGET_TOKENS`).

    Returns:
        A scalar.
    """
    given, target = rows[:, :INPUT_TOKENS], rows[:, INPUT_TOKENS:]
    sources, targets = _numbers(given), _numbers(target)
    # The padding of a target looks at what there is, for a row of attention must not be empty; its loss is ignored.
    sought = torch.minimum(targets, sources[:, -1:])
    # What follows an end, as the first token of all, is told by the start token.
    before = pad(target[:, :-1], (1, 0), value=BOS)
    before = torch.where(before == EOS, BOS, before)
    places = torch.arange(target.shape[1], device=rows.device)
    own = _same(targets, targets) & (places[:, None] >= places[None, :])
    encoded = model.encoder(input_ids=given, attention_mask=_same(sources, sources)[:, None])
    logits = model(
        encoder_outputs=(encoded.last_hidden_state,),
        attention_mask=_same(sought, sources)[:, None],
        decoder_input_ids=before,
        decoder_attention_mask=own[:, None],
        use_cache=False,
    ).logits
    return cross_entropy(logits.flatten(0, 1).float(), target.flatten(), ignore_index=PAD)


def _same(left: Tensor, right: Tensor) -> Tensor:
    return left[:, :, None] == right[:, None, :]


def pair_tokens(rows: Rows) -> int:
    """Count the tokens of a batch, of inputs and targets, without padding."""
    return int((rows != PAD).sum())


def target_tokens(rows: Tensor) -> int:
    """Count the tokens of a batch that the loss is the mean over."""
    return int((rows[:, INPUT_TOKENS:] != PAD).sum())
