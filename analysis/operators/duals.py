"""The tensors of a space as dual numbers theta + epsilon v, for derivatives along v in forward mode.

While they are installed, every module that holds a tensor of the space holds its dual instead, so whatever the loss
computes carries its derivative along v. In a backward pass over such a computation gradients are dual as well, and
their second part is H v: each tensor's share is added to its block of the product as soon as it is known, so that no
gradient of the whole space is held. The modules get their own parameters back whatever happens inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks

from analysis.spaces import ParameterSpace
from analysis.vectors import Vector

Holder = tuple[nn.Module, str, int]
"""A module, the name of its parameter, and the block that this parameter is."""


class _Sink(torch.autograd.Function):
    """Passes a weight on unchanged; in the backward pass adds its gradient, or the tangent of that, to a block."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, weight: Tensor, target: Tensor, second_order: bool) -> Tensor:
        ctx.target, ctx.second_order = target, second_order
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        value, tangent = parts(gradients[0])
        share = tangent if ctx.second_order else value
        if share is not None:
            with torch.no_grad():
                ctx.target.add_(share.detach())
        return None, None, None, None


class DualTensors:
    """The tensors of a space, the direction they move along, and the product that their gradients go to.

    Args:
        space: Entered.
        direction: v.
        product: Receives what backward passes find for the weights, if they ask for the gradient of the anchor.
        second_order: Whether that is the derivative of the gradients along v, or the gradients themselves.
        compute_dtype: Type that the tensors are computed with; None for their own.

    Attributes:
        anchor: A scalar that everything depends on; the gradient to ask autograd for.
    """

    def __init__(
        self,
        space: ParameterSpace,
        direction: Sequence[Tensor],
        product: Vector,
        *,
        second_order: bool,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        self.space = space
        self.direction = direction
        self.product = product
        self.second_order = second_order
        self.compute_dtype = compute_dtype
        self.anchor = torch.zeros((), device=space.tensors[0].device, requires_grad=True)
        self.holders: list[Holder] = space.holders()
        self._modules = {id(module) for module in space.model.modules()}

    def within(self, module: nn.Module) -> list[Holder]:
        """Return the holders that a layer can reach: inside it, or in no module of the model, as offsets are."""
        inside = {id(child) for child in module.modules()}
        return [holder for holder in self.holders if id(holder[0]) in inside or id(holder[0]) not in self._modules]

    def tangent(self, block: int) -> Tensor:
        """Return v of a block in the type that its tensor is computed with, as derivatives need it."""
        return self.direction[block].detach().to(self.compute_dtype or self.space.tensors[block].dtype)

    @contextmanager
    def installed(self, holders: Sequence[Holder] | None = None, *, moving: bool = True) -> Iterator[None]:
        """Let modules hold duals at the level that is open, or plain tensors, whose gradients go to the product.

        Args:
            holders: Which; all by default. A tensor that is held several times is one dual everywhere.
            moving: Whether there is a tangent.
        """
        held = self.holders if holders is None else holders
        made: dict[int, Tensor] = {}
        for block in {block for _, _, block in held}:
            inputs = (self.anchor, self.space.tensors[block].detach(), self.product[block], self.second_order)
            primal: Tensor = _Sink.apply(*inputs)  # type: ignore[no-untyped-call]
            made[block] = primal = primal.to(self.compute_dtype or primal.dtype)
            if moving:
                made[block] = dual(primal, self.tangent(block))
        with _holding(held, made):
            yield

    @contextmanager
    def leaves(self, holders: Sequence[Holder]) -> Iterator[dict[int, Tensor]]:
        """Let modules hold plain tensors that require a gradient of their own; yields them by block."""
        own = {block: self.space.tensors[block].detach() for _, _, block in holders}
        made = {block: t.to(self.compute_dtype or t.dtype).requires_grad_() for block, t in own.items()}
        with _holding(holders, made):
            yield made


@contextmanager
def _holding(holders: Sequence[Holder], tensors: Mapping[int, Tensor]) -> Iterator[None]:
    before = [(module, attribute, module._parameters[attribute]) for module, attribute, _ in holders]
    try:
        for module, attribute, block in holders:
            module._parameters[attribute] = tensors[block]  # type: ignore[assignment]
        yield
    finally:
        for module, attribute, parameter in before:
            module._parameters[attribute] = parameter


def dual(primal: Tensor, tangent: Tensor) -> Tensor:
    """Return primal + epsilon tangent at the level that is open."""
    with quiet_tracing():
        made: Tensor = forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]
        return made


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Leave out what PyTorch says about its own tracing and compiling, on which a user has no influence."""
    with warnings.catch_warnings():
        # Some forward formulas are compiled in a way that PyTorch calls deprecated.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
        # Weights in float32 were chosen for float32 arithmetic.
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores", category=UserWarning)
        yield


def parts(tensor: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return value and tangent of a tensor that may be dual."""
    value, tangent = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    return value, tangent


@contextmanager
def keeping_saved() -> Iterator[None]:
    """Record a forward pass that is differentiated, whatever is done with saved tensors around it."""

    def keep(tensor: Tensor) -> Tensor:
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, keep):
        yield
