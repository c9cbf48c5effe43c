"""Scores where no rule could judge what a model writes: how likely it finds the right answer.

The score of an example is exp(-mean cross-entropy over the tokens of its answers), the inverse perplexity: 1 where the
model is certain of every token, 1 / vocabulary where it knows nothing. Nothing is generated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from analysis.losses import CrossEntropyLoss
from benchmarks.encoding import PaddedBatch, Row
from benchmarks.scoring import ScoredExample
from benchmarks.tasks import Example


def score_likelihoods(
    model: Any,
    examples: Sequence[Example],
    rows: Sequence[Sequence[Row]],
    *,
    loss: CrossEntropyLoss,
    pad_id: int,
    size: int,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[ScoredExample]:
    """Return the inverse perplexity of every example.

    Args:
        model: A language model in evaluation mode.
        examples: The examples.
        rows: The rows of each, one for every turn.
        loss: The model's loss, which says what is compared with which label.
        pad_id: The padding token.
        size: Rows at a time; they are sorted by length.
        on_progress: Called with the finished share.
    """
    owned = [(owner, row) for owner, own in enumerate(rows) for row in own]
    owned.sort(key=lambda pair: len(pair[1]["input_ids"]))
    sums, counts = [0.0] * len(examples), [0] * len(examples)
    collate = PaddedBatch(pad_id)
    for start in range(0, len(owned), size):
        part = owned[start : start + size]
        with torch.inference_mode():
            scored = loss.logits(model, collate([row for _, row in part]))
            losses = cross_entropy(scored.values, scored.targets, reduction="none").double().cpu()
        for member, value in zip(scored.examples.tolist(), losses.tolist(), strict=True):
            sums[part[member][0]] += value
            counts[part[member][0]] += 1
        on_progress(min(1.0, (start + size) / len(owned)))
    found = [math.exp(-total / count) for total, count in zip(sums, counts, strict=True)]
    return [
        ScoredExample.of_one_turn(index, e, generated="", score=score)
        for index, (e, score) in enumerate(zip(examples, found, strict=True))
    ]
