"""A model and a fixed list of batches as one deterministic function of the weights.

    L(theta) = sum_b S_b(theta) / sum_b N_b

with S_b the sum of the token losses of batch b and N_b its number of counted tokens. Averaging the batches' own means
instead would weigh a short batch like a long one, and its Hessian would belong to another loss. Dropout is off,
the order is fixed, `.grad` and the modules' training flags are left as they were found. Batches are taken one at a
time, so memory is that of the largest batch; layers whose activation checkpointing is on keep it. When a process group
is up, its ranks share the batches, and every rank gets the sums over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from analysis import ranks, vectors
from analysis.errors import ObjectiveError
from analysis.losses import CrossEntropyLoss, LossFunction, ScoredLogits, causal_lm_loss
from analysis.modes import evaluation_mode, recomputing
from analysis.sharding import collecting, is_sharded, local
from analysis.vectors import Vector

Batch = Any
LayerContext = Callable[[nn.Module], AbstractContextManager[None]]


class Objective:
    """Token-weighted mean loss of a model over a fixed list of batches.

    Args:
        model: Any module; it is neither copied nor changed.
        batches: The data, in the order in which it is summed.
        loss: `loss(model, batch)` -> (sum of token losses, number of tokens).
        shared: Whether the ranks of a process group share the batches; otherwise each takes all of them.

    Attributes:
        evaluations: Passes over all batches that needed the value only.
        gradient_evaluations: Passes over all batches that needed the gradient too.

    Raises:
        ObjectiveError: There are no batches.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        *,
        loss: LossFunction = causal_lm_loss,
        shared: bool = True,
    ) -> None:
        if not batches:
            raise ObjectiveError("there are no batches; an objective needs at least one")
        self.model = model
        self.batches = tuple(batches)
        self.evaluations = 0
        self.gradient_evaluations = 0
        self.shared = shared and ranks.world_size() > 1
        self._loss = loss

    def passes(self) -> list[tuple[int, float]]:
        """Return which batches this rank takes, and the weight of each, 1 or 0.

        A model that is sharded over ranks runs on all of them or on none: a rank without a batch of its own takes part
        with one that does not count.
        """
        count = len(self.batches)
        if not self.shared:
            return [(index, 1.0) for index in range(count)]
        own = [(index, 1.0) for index in range(ranks.rank(), count, ranks.world_size())]
        if is_sharded(list(self.model.parameters())) and len(own) < -(-count // ranks.world_size()):
            own.append((0, 0.0))
        return own

    def add_over_ranks(self, vector: Sequence[Tensor], tokens: int) -> int:
        """Return the sum of tokens over the ranks that share the batches, and replace a vector by its sum, in place.

        Args:
            vector: A vector of the space; of sharded blocks every rank's rows are sums already.
            tokens: Those that this rank counted.
        """
        if not self.shared:
            return tokens
        if not is_sharded(vector):
            ranks.add_over_ranks(vector)
        return int(ranks.total([tokens])[0])

    @property
    def has_logits(self) -> bool:
        """Whether the loss is the cross-entropy of the logits it names, and nothing a subclass makes of it."""
        return isinstance(self._loss, CrossEntropyLoss) and type(self._loss).__call__ is CrossEntropyLoss.__call__

    def batch_loss(self, index: int, *, layers: LayerContext = recomputing) -> tuple[Tensor, int]:
        """Return the loss sum of one batch, a scalar, with its graph when gradients are enabled, and its token count.

        Args:
            index: Which batch.
            layers: Context of the forward pass that decides how the model's layers are run.

        Raises:
            ObjectiveError: The loss is not finite, or the count is negative.
        """
        with evaluation_mode(self.model), layers(self.model):
            total, count = self._loss(self.model, self.batches[index])
        if not math.isfinite(total.item()):
            raise ObjectiveError(f"the loss of batch {index} is {total.item()}; {self._suspect()}")
        if count < 0:
            raise ObjectiveError(f"the loss function counted {count} tokens in batch {index}; expected at least 0")
        return total, count

    def batch_logits(self, index: int, *, layers: LayerContext = recomputing) -> ScoredLogits:
        """Return the logits that the loss of one batch is the cross-entropy of.

        Args:
            index: Which batch.
            layers: See `batch_loss`.

        Raises:
            ObjectiveError: The loss does not say which logits it scores, or they are not finite.
        """
        if not isinstance(self._loss, CrossEntropyLoss):
            name = getattr(self._loss, "__name__", type(self._loss).__name__)
            raise ObjectiveError(
                f"the loss {name} has no logits, which the Gauss-Newton matrix and the Fisher per token or example "
                "need; pass loss=CrossEntropyLoss(logits) with a function that returns ScoredLogits, or take a Hessian"
            )
        with evaluation_mode(self.model), layers(self.model):
            scored = self._loss.logits(self.model, self.batches[index])
        if not bool(torch.isfinite(scored.values.detach()).all()):
            raise ObjectiveError(f"the logits of batch {index} are not finite; {self._suspect()}")
        return scored

    def _suspect(self) -> str:
        """Return where to look for the cause of a loss that is not finite."""
        for name, parameter in self.model.named_parameters():
            if parameter.is_floating_point() and not bool(torch.isfinite(parameter.detach()).all()):
                return f"the weights of {name} are not finite: load an earlier checkpoint"
        return "the weights are finite: check the batch, or take a smaller radius if the weights were displaced"

    def value(self) -> float:
        """Return L, the mean loss per token."""
        total, tokens = 0.0, 0
        with torch.no_grad():
            for index, weight in self.passes():
                batch_total, count = self.batch_loss(index)
                total += weight * batch_total.item()
                tokens += int(weight) * count
        self.evaluations += 1
        if self.shared:
            total, counted = ranks.total([total, tokens])
            tokens = int(counted)
        return total / self.checked_tokens(tokens)

    def value_and_gradient(self, tensors: Sequence[Tensor]) -> tuple[float, Vector]:
        """Return L and dL/dtensors, a vector of the space, from one pass over the batches.

        Args:
            tensors: Leaves of any shapes that require a gradient, as a `ParameterSpace` gives them while it is
                entered. A tensor that the loss does not reach gets zeros.

        Raises:
            ObjectiveError: The loss is not finite, no token is counted, or no tensor is reached.
        """
        total, tokens = 0.0, 0
        gradient = vectors.zeros_like(tensors)
        with torch.enable_grad(), self._leaves(tensors, gradient) as leaves:
            for index, weight in self.passes():
                batch_total, count = self.batch_loss(index)
                if not batch_total.requires_grad:
                    raise ObjectiveError("the loss does not depend on the tensors; is the space entered?")
                parts = torch.autograd.grad(weight * batch_total, leaves, allow_unused=True)
                if not is_sharded(tensors):  # of sharded matrices the layers have added theirs
                    for block, part in zip(gradient, parts, strict=True):
                        if part is not None:
                            block += part
                total += weight * batch_total.item()
                tokens += int(weight) * count
        self.gradient_evaluations += 1
        tokens = self.add_over_ranks(gradient, tokens)
        if self.shared:
            total = ranks.total([total])[0]
        mean = 1.0 / self.checked_tokens(tokens)
        for block in gradient:
            local(block).mul_(mean)
        return total * mean, gradient

    @contextmanager
    def _leaves(self, tensors: Sequence[Tensor], gradient: Vector) -> Iterator[list[Tensor]]:
        """Yield what autograd is asked for: the tensors, or what sharded matrices hang on."""
        if not is_sharded(tensors):
            yield list(tensors)
            return
        with collecting(self.model, tensors, gradient) as anchor:
            yield [anchor]

    def gradient(self, tensors: Sequence[Tensor]) -> Vector:
        """Return dL/dtensors, a vector of the space.

        Args:
            tensors: Of any shapes, see `value_and_gradient`.
        """
        return self.value_and_gradient(tensors)[1]

    def check_determinism(self, tensors: Sequence[Tensor], *, tolerance: float = 1e-5) -> None:
        """Evaluate loss and gradient twice and refuse an objective that is not a function of the weights.

        Args:
            tensors: Of any shapes, see `value_and_gradient`.
            tolerance: Largest difference allowed, relative to the loss and to the gradient's norm. Sums that
                threads add in another order differ by about 1e-7 in float32.

        Raises:
            ObjectiveError: The two evaluations differ by more.
        """
        first, gradient = self.value_and_gradient(tensors)
        second, again = self.value_and_gradient(tensors)
        drift = vectors.norm(vectors.axpy(-1.0, gradient, again))
        if abs(second - first) > tolerance * abs(first) or drift > tolerance * vectors.norm(gradient):
            raise ObjectiveError(
                f"the loss is not deterministic: two evaluations gave {first!r} and {second!r}, gradients that "
                f"differ by {drift:.3g}; remove what draws random numbers in evaluation mode"
            )

    @staticmethod
    def checked_tokens(tokens: int) -> int:
        """Return the number of tokens of all batches, or refuse data in which nothing is counted.

        Args:
            tokens: That number.

        Raises:
            ObjectiveError: It is zero.
        """
        if tokens == 0:
            raise ObjectiveError("no token is counted: every label is ignored; check the labels of the batches")
        return tokens
