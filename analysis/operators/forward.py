"""Hessian products by forward over reverse: an ordinary gradient of a loss whose weights are dual numbers.

`torch.func.jvp(grad)` cannot pass saved-tensor hooks and with them activation checkpointing; dual tensors and
`autograd.grad` can. Layers that are to be recomputed or compiled are run apart (`analysis.operators.layer_runner`). The
backward pass has to believe that it will be differentiated again, since some operations have a forward derivative only
in the form that is meant for that; what autograd would keep for it is dropped at once. The other order, a gradient of
the derivative, is cheaper to write and wrong: PyTorch's forward derivatives of layer norm and softmax, differentiated
once more, give a wrong value and an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from analysis.errors import SecondDerivativeError
from analysis.objective import Objective
from analysis.operators.attention import differentiable_attention
from analysis.operators.blocked import naming_the_operation, refuse_fused_attention
from analysis.operators.compiled_layers import compiled_layers
from analysis.operators.duals import DualTensors, dual, parts
from analysis.operators.layer_runner import LayerRunner
from analysis.operators.virtual_linear import VirtualWeights, virtual_linears
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


class ForwardRoute:
    """Forward over reverse, by dual tensors.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates.
        compile_layers: Whether to compile the model's repeated layers, see `CompiledLayers`.
        compute_dtype: Type that narrower weights are computed with, if the layers are compiled; None for their own.

    Raises:
        SettingsError: No layer of the model can be compiled.
    """

    name = "forward"

    def __init__(
        self,
        objective: Objective,
        space: ParameterSpace,
        *,
        compile_layers: bool = False,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        self.objective = objective
        self.space = space
        self._compute_dtype = compute_dtype
        self._compiled = compiled_layers(space.model, compile_layers, compute_dtype, second_order=True)

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add every batch's product with the Hessian of its loss sum to `product`, and return the token count."""
        refuse_fused_attention(self.space.model)
        duals = DualTensors(self.space, direction, product, second_order=True, compute_dtype=self._compute_dtype)
        layers = LayerRunner(duals, compiled=self._compiled)
        virtual = VirtualWeights(anchor=duals.anchor, direction=direction, product=product, second_order=True)
        tokens = 0
        with (
            naming_the_operation(self.name),
            differentiable_attention(),
            virtual_linears(self.space, virtual, apart=layers.compiled_layers),
            layers.wide_outside(),
        ):
            for index, _ in self.objective.passes():
                with layers.level():
                    output, gradient, count = self._dual_output(index, layers)
                    tokens += count
                    if output.requires_grad:
                        with saved_tensors_hooks(_drop, _refuse):
                            torch.autograd.grad(
                                output, duals.anchor, gradient, create_graph=True, retain_graph=False, allow_unused=True
                            )
                    # The dual output holds the graph, and with it every activation, until it is let go.
                    del output, gradient
        return tokens

    def _dual_output(self, index: int, layers: LayerRunner) -> tuple[Tensor, Tensor | None, int]:
        """Return the dual loss of a batch, or its dual logits with the gradient of a cross-entropy, and its tokens."""
        if not self.objective.has_logits:
            total, count = self.objective.batch_loss(index, layers=layers)
            return total, None, count
        scored = self.objective.batch_logits(index, layers=layers)
        values, tangent = parts(scored.values)
        with torch.no_grad():
            plain = replace(scored, values=values)
            gradient = plain.residual()
            if tangent is not None:
                gradient = dual(gradient, plain.curvature(tangent))
        return scored.values, gradient, len(scored.targets)


def _drop(tensor: Tensor) -> None:
    """Keep nothing of what a further derivative would need: none is taken."""


def _refuse(_: Any) -> NoReturn:
    raise SecondDerivativeError(
        "no second derivative by the forward route: a function of the model runs a backward pass inside its own, as "
        "reentrant activation checkpointing does; switch to use_reentrant=False, or take route='difference'"
    )
