"""Losses of language models and classifiers, as sums over the counted tokens, together with their logits.

An objective weighs by tokens, so a loss returns a sum and a count: `loss(model, batch)`. The losses here are softmax
cross-entropies of some rows of logits, and say which rows those are: the Gauss-Newton matrix and the empirical Fisher
differentiate the logits and know the cross-entropy's own derivatives in closed form. `CrossEntropyLoss`
makes such a loss of any function that returns logits and targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import ObjectiveError
from analysis.vectors import working_dtype

LossFunction = Callable[[nn.Module, Any], tuple[Tensor, int]]
"""`loss(model, batch)` -> (sum of the token losses, a scalar that can be differentiated; number of tokens)."""

IGNORED_LABEL = -100


@dataclass(frozen=True, eq=False)
class ScoredLogits:
    """The logits of a batch that are compared with a target.

    Attributes:
        values: Logits z (N, V), float32 or wider.
        targets: Class indices (N,).
        examples: Index (N,) in the batch of the example that each row belongs to.
    """

    values: Tensor
    targets: Tensor
    examples: Tensor

    def residual(self) -> Tensor:
        """Return the gradient p - y (N, V) of the cross-entropy, p the softmax and y the one-hot targets."""
        found = self.values.detach().softmax(dim=1)
        return found.scatter_add_(1, self.targets[:, None], -torch.ones_like(found[:, :1]))

    def curvature(self, tangent: Tensor) -> Tensor:
        """Return the Hessian of the cross-entropy times u, (N, V): p * (u - <p, u>) row by row, p the softmax.

        Args:
            tangent: u (N, V).
        """
        p = self.values.detach().softmax(dim=1)
        return p * (tangent - (p * tangent).sum(dim=1, keepdim=True))


LogitsFunction = Callable[[nn.Module, Any], ScoredLogits]


@dataclass(frozen=True)
class CrossEntropyLoss:
    """The softmax cross-entropy sum_n logsumexp(z_n) - z_n[y_n] of the rows that `logits` returns, and their number.

    Attributes:
        logits: `logits(model, batch)` -> `ScoredLogits`.
    """

    logits: LogitsFunction

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Return the sum of the losses, a scalar with its graph, and the number of rows.

        Args:
            model: The model.
            batch: What `logits` takes.
        """
        scored = self.logits(model, batch)
        # The same number as cross_entropy, but its second derivative takes half the time of log_softmax's.
        chosen = scored.values.gather(1, scored.targets[:, None])
        return torch.logsumexp(scored.values, dim=1).sum() - chosen.sum(), len(scored.targets)


def _on_device(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Return the inputs without the labels, and the labels, on the model's device."""
    if "labels" not in batch:
        raise ObjectiveError(f"a batch has {sorted(batch)} but no 'labels'; add them, or pass your own loss=")
    device = next(model.parameters()).device
    moved = {key: value.to(device) for key, value in batch.items()}
    return moved, moved.pop("labels")


def _scored(logits: Tensor, labels: Tensor) -> ScoredLogits:
    """Return the rows of logits (b, t, V) whose label (b, t) is not ignored."""
    # The head of a model that is spread over devices may lie on another one than its first layer.
    flat = labels.flatten().to(logits.device)
    rows = (flat != IGNORED_LABEL).nonzero().squeeze(1)
    values = logits.flatten(0, 1).index_select(0, rows)
    return ScoredLogits(values.to(working_dtype(values.dtype)), flat[rows], rows // labels.shape[1])


def _causal_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> ScoredLogits:
    inputs, labels = _on_device(model, batch)
    following = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED_LABEL)
    return _scored(model(**inputs, use_cache=False).logits, following)


def _seq2seq_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> ScoredLogits:
    inputs, labels = _on_device(model, batch)
    if "decoder_input_ids" not in inputs:
        prepare: Any = getattr(model, "prepare_decoder_input_ids_from_labels", None)
        if prepare is None:
            raise ObjectiveError(
                "the batch has no 'decoder_input_ids' and the model cannot make them from its labels; add them"
            )
        inputs["decoder_input_ids"] = prepare(labels=labels)
    return _scored(model(**inputs, use_cache=False).logits, labels)


def _classification_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> ScoredLogits:
    inputs, labels = _on_device(model, batch)
    if labels.is_floating_point() or labels.dim() != 1:
        raise ObjectiveError(
            f"the labels are {labels.dtype} of shape {tuple(labels.shape)}; expected one class index per example "
            "(for a regression pass your own loss=)"
        )
    return _scored(model(**inputs).logits[:, None], labels[:, None])


causal_lm_loss = CrossEntropyLoss(_causal_logits)
"""Next-token cross-entropy of a causal language model: position t predicts label t + 1.

A batch holds `input_ids` (b, t), `labels` (b, t) with -100 for what is left out, and whatever else the model's
forward takes. The loss keeps the type of the logits (float16 and bfloat16 are widened to float32), so that a float64
model has a float64 loss.
"""

seq2seq_lm_loss = CrossEntropyLoss(_seq2seq_logits)
"""Cross-entropy of an encoder-decoder model: decoder position t predicts label t, -100 is left out.

`decoder_input_ids` are made from the labels by the model if the batch does not hold them.
"""

sequence_classification_loss = CrossEntropyLoss(_classification_logits)
"""Cross-entropy of a classifier, counted per example; `labels` (b,) are class indices, -100 is left out."""
