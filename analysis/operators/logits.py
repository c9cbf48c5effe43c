"""Operators J^T M J with J the Jacobian of the logits: the Gauss-Newton matrix and the empirical Fisher.

For softmax cross-entropy both are J^T M J with M known in closed form, so no second derivative of the model is needed:
u = J v comes from a forward pass with dual weights, and J^T (M u) from the backward pass of the same logits. With
p the softmax of a row and y its one-hot target, per counted row n

    Gauss-Newton  (M u)_n = p_n * (u_n - <p_n, u_n>)
    Fisher        (M u)_n = r_n * sum_{k in group of n} <r_k, u_k>,      r = p - y

and a group is a row (per token) or an example.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.errors import SettingsError
from analysis.losses import ScoredLogits
from analysis.modes import checkpointed_layers
from analysis.objective import Objective
from analysis.operators.base import SpaceOperator
from analysis.operators.blocked import naming_the_operation
from analysis.operators.duals import dual_space
from analysis.operators.virtual_linear import VirtualWeights, virtual_linears
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector

UNITS = ("token", "example")


class LogitsOperator(SpaceOperator):
    """J^T M J / N, summed over the batches; a subclass gives M. The loss has to be a `CrossEntropyLoss`."""

    def middle(self, scored: ScoredLogits, tangent: Tensor) -> Tensor:
        """Return M u (N, V) for u = J v (N, V)."""
        raise NotImplementedError

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add every batch's J^T M J v to `product`, in place, and return the number of counted tokens."""
        tokens = 0
        # A layer that is recomputed in the backward pass, when v is no longer there, has to be run without it before.
        shared = not checkpointed_layers(self.objective.model)
        anchor = torch.zeros((), device=self.space.tensors[0].device, requires_grad=True)
        virtual = VirtualWeights(product=product, anchor=anchor)
        with naming_the_operation("forward"), sdpa_kernel(SDPBackend.MATH), virtual_linears(self.space, virtual):
            for index in range(len(self.objective.batches)):
                values, cotangent, count = self._pushed(index, direction, recorded=shared)
                tokens += count
                if cotangent is None:
                    continue
                if not shared:
                    values = self.objective.batch_logits(index).values
                parts = torch.autograd.grad(
                    values, [*self.space.tensors, anchor], grad_outputs=cotangent, allow_unused=True
                )
                for block, part in zip(product, parts[:-1], strict=True):
                    if part is not None:
                        block += part
        return tokens

    def _pushed(self, index: int, direction: Vector, *, recorded: bool) -> tuple[Tensor, Tensor | None, int]:
        """Return the logits of one batch, with their graph if it is recorded, M J v, and the number of counted rows.

        M J v is None if the logits do not move.
        """
        with torch.set_grad_enabled(recorded), dual_space(self.space, direction):
            scored = self.objective.batch_logits(index)
            values, tangent = forward_ad.unpack_dual(scored.values)  # type: ignore[no-untyped-call]
            if tangent is None:
                return values, None, len(scored.targets)
            plain = ScoredLogits(values.detach(), scored.targets, scored.examples)
            with torch.no_grad():
                return values, self.middle(plain, tangent.detach()), len(scored.targets)


class GaussNewtonOperator(LogitsOperator):
    """The generalised Gauss-Newton matrix of the softmax cross-entropy, positive semi-definite (Schraudolph, 2002).

    It is the Hessian without the curvature of the logits themselves, and equals the true Fisher matrix.

    Args:
        objective: Its loss must be a `CrossEntropyLoss`.
        space: The coordinates.
        vector_dtype: Type of products, see `SpaceOperator`.
    """

    def middle(self, scored: ScoredLogits, tangent: Tensor) -> Tensor:
        """Return (diag(p) - p p^T) u row by row."""
        p = scored.values.softmax(dim=1)
        return p * (tangent - (p * tangent).sum(dim=1, keepdim=True))


class EmpiricalFisherOperator(LogitsOperator):
    """The empirical Fisher matrix (1/N) sum_g grad_g grad_g^T, with N the number of counted tokens.

    grad_g is the gradient of the summed loss of one token or of one example. Dividing by N either way makes
    both estimate the same true Fisher of the mean token loss; for a classifier N is the number of examples.

    Args:
        objective: Its loss must be a `CrossEntropyLoss`.
        space: The coordinates.
        unit: `example` or `token`.
        vector_dtype: Type of products, see `SpaceOperator`.

    Raises:
        SettingsError: The unit is unknown.
    """

    def __init__(
        self,
        objective: Objective,
        space: ParameterSpace,
        *,
        unit: str = "example",
        vector_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(objective, space, vector_dtype=vector_dtype)
        if unit not in UNITS:
            raise SettingsError(f"unit is {unit!r}; expected one of {', '.join(UNITS)}")
        self.unit = unit

    def middle(self, scored: ScoredLogits, tangent: Tensor) -> Tensor:
        """Return r_n times the sum of <r_k, u_k> over the group of n."""
        residual = scored.values.softmax(dim=1)
        residual.scatter_add_(1, scored.targets[:, None], -torch.ones_like(residual[:, :1]))
        along = (residual * tangent).sum(dim=1)
        if self.unit == "example" and len(along) > 0:
            groups = along.new_zeros(int(scored.examples.max()) + 1)
            along = groups.index_add_(0, scored.examples, along)[scored.examples]
        return residual.mul_(along[:, None])
