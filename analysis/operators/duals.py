"""The tensors of a space as dual numbers theta + epsilon v, for derivatives along v in forward mode.

While `dual_space` is open, every module that holds a tensor of the space holds its dual instead, so whatever the loss
computes carries its derivative along v. In a backward pass over such a computation the gradient is dual as
well, and its second part is H v: each tensor's share is added to the product as soon as it is known, so that no
gradient of the whole space is held. The modules get their own parameters back whatever happens inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


class _Sink(torch.autograd.Function):
    """Passes a weight on unchanged; in the backward pass adds the tangent of its gradient to a block."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        ctx.target = target
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        tangent = forward_ad.unpack_dual(gradients[0]).tangent  # type: ignore[no-untyped-call]
        if tangent is not None:
            with torch.no_grad():
                ctx.target.add_(tangent.detach())
        return None, None, None


@contextmanager
def dual_space(
    space: ParameterSpace,
    direction: Sequence[Tensor],
    *,
    product: Vector | None = None,
    anchor: Tensor | None = None,
) -> Iterator[None]:
    """Open a level of forward differentiation in which the tensors of a space are dual.

    Args:
        space: Entered.
        direction: v, cast to the tensors' own types, which duals need.
        product: Receives the tangents of the gradients in a backward pass. None leaves the gradients, if any, to the
            tensors themselves.
        anchor: A scalar that requires a gradient, to start that backward pass with; needed with `product`.
    """
    holders = space.holders()
    with forward_ad.dual_level():
        duals = []
        for index, (tensor, block) in enumerate(zip(space.tensors, direction, strict=True)):
            weight = tensor
            if product is not None:
                weight = _Sink.apply(anchor, tensor.detach(), product[index])  # type: ignore[no-untyped-call]
            duals.append(_dual(weight, block.detach().to(tensor.dtype)))
        try:
            for module, attribute, index in holders:
                module._parameters[attribute] = duals[index]  # type: ignore[assignment]
            yield
        finally:
            for module, attribute, index in holders:
                module._parameters[attribute] = space.tensors[index]  # type: ignore[assignment]


def _dual(primal: Tensor, tangent: Tensor) -> Tensor:
    with warnings.catch_warnings():
        # PyTorch's own forward formulas are compiled at the first use, by means that PyTorch calls deprecated.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
        dual: Tensor = forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]
        return dual
