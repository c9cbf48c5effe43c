"""The losses of single examples, read from the logits of a pass over a batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

IGNORED_LABEL = -100


def example_losses(model: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """Return each example's mean cross-entropy over its scored tokens, shape (examples,), fp32.

    Args:
        model: Decides by its configuration whether labels are shifted: decoders predict the next token.
        logits: (examples, tokens, vocabulary), or (examples, classes).
        labels: (examples, tokens) with -100 where nothing is scored, or (examples,), on any device.
    """
    # The head of a model that is spread over devices lies on another one than its inputs.
    labels = labels.to(logits.device)
    if labels.dim() > 1 and not model.config.is_encoder_decoder:
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = nn.functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED_LABEL, reduction="none"
    ).view(labels.shape)
    if labels.dim() == 1:
        return losses
    return losses.sum(dim=1) / (labels != IGNORED_LABEL).sum(dim=1).clamp_min(1)
