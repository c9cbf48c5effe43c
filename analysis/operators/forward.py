"""Hessian products by forward over reverse: an ordinary gradient of a loss whose weights are dual numbers.

`torch.func.jvp(grad)` cannot pass saved-tensor hooks and with them activation checkpointing; dual tensors and
`autograd.grad` can, and checkpointed layers then keep memory at that of one layer. The backward pass has to
believe that it will be differentiated again, since some operations have a forward derivative only in the form that is
meant for that; what autograd would keep for it is dropped at once.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.errors import SecondDerivativeError
from analysis.objective import Objective
from analysis.operators.blocked import naming_the_operation, refuse_fused_attention
from analysis.operators.duals import dual_space
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


class ForwardRoute:
    """Forward over reverse, by dual tensors.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates.
    """

    name = "forward"

    def __init__(self, objective: Objective, space: ParameterSpace) -> None:
        self.objective = objective
        self.space = space

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add every batch's product with the Hessian of its loss sum to `product`, and return the token count."""
        refuse_fused_attention(self.space.model)
        tokens = 0
        with naming_the_operation(self.name), sdpa_kernel(SDPBackend.MATH):
            for index in range(len(self.objective.batches)):
                anchor = torch.zeros((), device=self.space.tensors[0].device, requires_grad=True)
                with dual_space(self.space, direction, product=product, anchor=anchor):
                    total, count = self.objective.batch_loss(index)
                    tokens += count
                    if total.requires_grad:
                        with saved_tensors_hooks(_drop, _refuse):
                            torch.autograd.grad(total, anchor, create_graph=True, retain_graph=False, allow_unused=True)
        return tokens


def _drop(tensor: Tensor) -> None:
    """Keep nothing of what a further derivative would need: none is taken."""


def _refuse(_: Any) -> NoReturn:
    raise SecondDerivativeError(
        "no second derivative by the forward route: a function of the model runs a backward pass inside its own, as "
        "reentrant activation checkpointing does; switch to use_reentrant=False, or take route='difference'"
    )
