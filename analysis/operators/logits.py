"""Operators J^T M J with J the Jacobian of the logits: the Gauss-Newton matrix and the empirical Fisher.

For softmax cross-entropy both are J^T M J with M known in closed form, so no second derivative of the model is needed:
u = J v comes from a forward pass with dual weights, and J^T (M u) from the backward pass of the same logits. With
p the softmax of a row and y its one-hot target, per counted row n

    Gauss-Newton  (M u)_n = p_n * (u_n - <p_n, u_n>)
    Fisher        (M u)_n = r_n * sum_{k in group of n} <r_k, u_k>,      r = p - y

and a group is a row (per token) or an example.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from analysis.errors import SettingsError
from analysis.losses import ScoredLogits
from analysis.objective import Objective
from analysis.operators.attention import differentiable_attention
from analysis.operators.base import SpaceOperator
from analysis.operators.blocked import naming_the_operation
from analysis.operators.compiled_layers import compiled_layers
from analysis.operators.duals import DualTensors, parts
from analysis.operators.layer_runner import LayerRunner
from analysis.operators.virtual_linear import VirtualWeights, virtual_linears
from analysis.sharding import is_sharded
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector

UNITS = ("token", "example")


class LogitsOperator(SpaceOperator):
    """J^T M J / N, summed over the batches; a subclass gives M. The loss has to be a `CrossEntropyLoss`.

    Args:
        objective: Its loss must be a `CrossEntropyLoss`.
        space: The coordinates.
        vector_dtype: Type of products, see `SpaceOperator`.
        compile_layers: Whether to compile the model's repeated layers, see `CompiledLayers`.
        compute_dtype: Type that narrower weights are computed with, if the layers are compiled; None for their own.

    Raises:
        SettingsError: No layer of the model can be compiled, or its matrices are sharded over ranks.
    """

    def __init__(
        self,
        objective: Objective,
        space: ParameterSpace,
        *,
        vector_dtype: torch.dtype | None = None,
        compile_layers: bool = False,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        if is_sharded(space.tensors):
            raise SettingsError(
                "matrices that are sharded over ranks go with the Hessian's reverse route; take HessianOperator, or "
                "leave the model whole on every rank"
            )
        super().__init__(objective, space, vector_dtype=vector_dtype)
        self._compute_dtype = compute_dtype
        self._compiled = compiled_layers(space.model, compile_layers, compute_dtype, second_order=False)

    def middle(self, scored: ScoredLogits, tangent: Tensor) -> Tensor:
        """Return M u (N, V), N counted rows and V classes.

        Args:
            scored: The logits of a batch, without their tangent.
            tangent: u = J v (N, V).
        """
        raise NotImplementedError

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add every batch's J^T M J v to `product`, in place, and return the number of counted tokens."""
        duals = DualTensors(self.space, direction, product, second_order=False, compute_dtype=self._compute_dtype)
        layers = LayerRunner(duals, compiled=self._compiled)
        virtual = VirtualWeights(anchor=duals.anchor, product=product)
        tokens = 0
        with (
            naming_the_operation("forward"),
            differentiable_attention(),
            virtual_linears(self.space, virtual, apart=layers.compiled_layers),
            layers.wide_outside(),
        ):
            for index, _ in self.objective.passes():
                with layers.level():
                    scored = self.objective.batch_logits(index, layers=layers)
                    values, tangent = parts(scored.values)
                tokens += len(scored.targets)
                if tangent is None or not values.requires_grad:
                    continue
                with torch.no_grad():
                    cotangent = self.middle(replace(scored, values=values), tangent)
                torch.autograd.grad(values, duals.anchor, cotangent, allow_unused=True)
        return tokens


class GaussNewtonOperator(LogitsOperator):
    """The generalised Gauss-Newton matrix of the softmax cross-entropy, positive semi-definite (Schraudolph, 2002).

    It is the Hessian without the curvature of the logits themselves, and equals the true Fisher matrix.
    """

    def middle(self, scored: ScoredLogits, tangent: Tensor) -> Tensor:
        """Return (diag(p) - p p^T) u row by row."""
        return scored.curvature(tangent)


class EmpiricalFisherOperator(LogitsOperator):
    """The empirical Fisher matrix (1/N) sum_g grad_g grad_g^T, with N the number of counted tokens.

    grad_g is the gradient of the summed loss of one token or of one example. Dividing by N either way makes
    both estimate the same true Fisher of the mean token loss; for a classifier N is the number of examples.

    Args:
        objective: Its loss must be a `CrossEntropyLoss`.
        space: The coordinates.
        unit: `example` or `token`.
        vector_dtype: Type of products, see `SpaceOperator`.
        compile_layers: Whether to compile the model's repeated layers, see `CompiledLayers`.
        compute_dtype: Type that narrower weights are computed with, if the layers are compiled; None for their own.

    Raises:
        SettingsError: The unit is unknown, no layer of the model can be compiled, or its matrices are sharded over
            ranks.
    """

    def __init__(
        self,
        objective: Objective,
        space: ParameterSpace,
        *,
        unit: str = "example",
        vector_dtype: torch.dtype | None = None,
        compile_layers: bool = False,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            objective, space, vector_dtype=vector_dtype, compile_layers=compile_layers, compute_dtype=compute_dtype
        )
        if unit not in UNITS:
            raise SettingsError(f"unit is {unit!r}; expected one of {', '.join(UNITS)}")
        self.unit = unit

    def middle(self, scored: ScoredLogits, tangent: Tensor) -> Tensor:
        """Return r_n times the sum of <r_k, u_k> over the group of n."""
        residual = scored.residual()
        along = (residual * tangent).sum(dim=1)
        if self.unit == "example" and len(along) > 0:
            groups = along.new_zeros(int(scored.examples.max()) + 1)
            along = groups.index_add_(0, scored.examples, along)[scored.examples]
        return residual.mul_(along[:, None])
