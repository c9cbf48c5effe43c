"""Linear layers whose weight gradient is never formed, for curvature products.

By double backward, a product needs <dL/dW, v> and its derivative, but not dL/dW (m, n) itself. With y = x W^T and the
gradient d of y, the first backward pass computes d W alone, and hands on a token, a zero that stands for <d^T x, v>;
the second pass, entering at the tokens, adds its two matrix products with the weight straight into the result. Against
plain double backward this saves one matrix product of nine per layer and two vectors of the space, 28 GB for 7 billion
bfloat16 weights. The tokens leave as the gradient of one scalar, the anchor, so autograd runs everything.

In forward mode a layer maps (x, x') to (y, y') = (x W^T, x' W^T + x V^T), and its backward of a dual gradient (d, d')
passes (d W, d' W + d V) on and adds d'^T x + d^T x' to the result. The Gauss-Newton matrix wants y' forwards but a
plain gradient back, and adds d^T x.

A matrix that is sharded over ranks (`analysis.sharding`) is gathered whenever it is read, and so is its v; what is
added is reduced to its rows' owners. That is for double backward alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis.operators.duals import dual, parts
from analysis.sharding import ShardedLinear, add_reduced, is_sharded, whole
from analysis.spaces import ParameterSpace


@dataclass(eq=False)
class VirtualWeights:
    """What the layers share: where the direction is read and the product is written.

    Attributes:
        anchor: The scalar whose gradient is the sum of the tokens.
        direction: Blocks v of the current product.
        product: Blocks that are added to.
        second_order: Whether gradients are dual.
    """

    anchor: Tensor
    direction: Sequence[Tensor] = ()
    product: Sequence[Tensor] = ()
    second_order: bool = False

    def add(self, block: int, left: Tensor, right: Tensor) -> None:
        """Add left^T right, of shapes (t, m) and (t, n), to a block of the product."""
        target = self.product[block]
        if is_sharded([target]):
            add_reduced(target, left.mT @ right)
        elif target.dtype == left.dtype:
            target.addmm_(left.mT, right)
        else:
            target.add_(left.mT @ right)


class _Linear(torch.autograd.Function):
    """y = x W^T; its backward is `_Backward` in the first pass, and adds to the product in the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _: Tensor, weight: Tensor, block: int, virtual: VirtualWeights) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.block, ctx.virtual = block, virtual
        return functional.linear(x, whole(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        # The first pass builds a graph, the second does not.
        if torch.is_grad_enabled():
            passed, token = _Backward.apply(gradient, x, weight, ctx.block, ctx.virtual)  # type: ignore[no-untyped-call]
            return passed if ctx.needs_input_grad[0] else None, token, None, None, None
        ctx.virtual.add(ctx.block, gradient, x)
        return gradient @ whole(weight) if ctx.needs_input_grad[0] else None, None, None, None, None


class _Backward(torch.autograd.Function):
    """(d, x) -> (d W, token); backward of cotangents (a, 1) adds d^T a to the product."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, block: int, virtual: VirtualWeights
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(gradient, x, weight)
        ctx.set_materialize_grads(False)
        ctx.block, ctx.virtual = block, virtual
        return gradient @ whole(weight), torch.zeros_like(virtual.anchor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        gradient, x, weight = ctx.saved_tensors
        passed, _ = cotangents
        v = whole(ctx.virtual.direction[ctx.block]).to(weight.dtype)
        to_gradient, to_x = functional.linear(x, v), None
        if passed is not None:
            to_gradient.addmm_(passed, whole(weight).mT)
            ctx.virtual.add(ctx.block, gradient, passed)
        if ctx.needs_input_grad[1]:
            to_x = gradient @ v
        return to_gradient, to_x, None, None, None


class _Dual(torch.autograd.Function):
    """y = x W^T for dual numbers; x' is a plain tensor, None for zero, and y' is the caller's."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, moved: Tensor | None, _: Tensor, weight: Tensor, block: int, virtual: VirtualWeights
    ) -> Tensor:
        ctx.save_for_backward(x, moved, weight)
        ctx.block, ctx.virtual = block, virtual
        return functional.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, moved, weight = ctx.saved_tensors
        gradient, change = parts(gradients[0])
        virtual, passed = ctx.virtual, None
        with torch.no_grad():
            if moved is not None:
                virtual.add(ctx.block, gradient, moved)
            if change is not None:
                virtual.add(ctx.block, change, x)
            if ctx.needs_input_grad[0]:
                tangent = gradient @ virtual.direction[ctx.block].to(weight.dtype)
                if change is not None:
                    tangent.addmm_(change, weight)
                passed = dual(gradient @ weight, tangent)
        return passed, None, None, None, None, None


@contextmanager
def virtual_linears(
    space: ParameterSpace, virtual: VirtualWeights, *, apart: Sequence[nn.Module] = ()
) -> Iterator[None]:
    """Run the linear layers whose weight is a block of the space without forming the weights' gradients.

    Only `nn.Linear` itself with its own forward is replaced: a subclass, or a layer whose forward someone else has
    replaced, may compute something else. A weight that is also used elsewhere keeps its ordinary gradient there.

    Args:
        space: Its blocks are the weights.
        virtual: What the layers share.
        apart: Modules whose layers are left as they are.
    """
    left = {id(module) for root in apart for module in root.modules()}
    chosen: list[Any] = []
    try:
        for module, attribute, block in space.holders():
            own = type(module) in (nn.Linear, ShardedLinear) and "forward" not in module.__dict__
            if own and attribute == "weight" and id(module) not in left:
                chosen.append(module)
                chosen[-1].forward = partial(_forward, chosen[-1], block, virtual)
        yield
    finally:
        for module in chosen:
            del module.forward


def _forward(module: nn.Linear, block: int, virtual: VirtualWeights, input: Tensor) -> Tensor:
    """Return x W^T + b; of dual x or W also the derivative along the tangents."""
    x, x_tangent = parts(input)
    weight, weight_tangent = parts(module.weight)
    weight = weight.detach()
    flat = x.reshape(-1, x.shape[-1])
    moved = None if x_tangent is None else x_tangent.reshape(flat.shape)
    anchor = virtual.anchor.to(x.device)
    y: Tensor
    if virtual.second_order and weight_tangent is not None:
        plain = None if moved is None else moved.detach()
        y = _Dual.apply(flat, plain, anchor, weight, block, virtual)  # type: ignore[no-untyped-call]
    else:
        y = _Linear.apply(flat, anchor, weight, block, virtual)  # type: ignore[no-untyped-call]
    if weight_tangent is not None:
        with torch.no_grad():
            tangent = functional.linear(flat, weight_tangent)
            if moved is not None:
                tangent.addmm_(moved, weight.mT)
        y = dual(y, tangent)
    y = y.view(*x.shape[:-1], len(weight))
    # Of a module's parameters only the weight is taken out here; its bias is added by ordinary means.
    return y if module.bias is None else y + module.bias
