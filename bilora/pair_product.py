"""The linear layers that share an input, each with its LoRA update, as one operator of a compiled graph.

For y_i = W_i x + b_i + B_i A_i x the compiler by itself launches three products and an addition a layer, and reads
every y_i and every x more often than need be. This operator runs

    forward:   u = x A^T for all layers at once;  y_i = x W_i^T, then y_i += u_i B_i^T inside the product
    backward:  v_i = g_i B_i;  dx = sum_i g_i W_i, then dx += v A;  dA = v^T x;  dB_i = g_i^T u_i

with A = [A_1; A_2; ...] of all layers stacked, and keeps x and u only. The base weights are frozen: they have no
gradient. Being opaque to the compiler, it is what a graph pass can recognise, see `bilora.compiled`. A backward pass
that is itself differentiated runs plain operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Weights = Sequence[Tensor]


@torch.library.custom_op("bilora::pair_product", mutates_args=())
def pair_product(x: Tensor, W: Weights, bias: Weights, A: Tensor, B: Weights) -> list[Tensor]:
    """Return y_i = x W_i^T + b_i + (x A_i^T) B_i^T of every layer, and last u = x A^T.

    Args:
        x: Input of the layers, shape (..., n).
        W: Frozen weight of each, (m_i, n).
        bias: Bias of each, (m_i,); empty if they have none.
        A: A_i of all layers stacked, (sum R_i, n).
        B: B_i of each with its scaling inside, (m_i, R_i).

    Returns:
        Tensors of shape (..., m_i) and one of shape (rows, sum R_i), all of one type.
    """
    rows = x.reshape(-1, x.shape[-1])
    u = rows @ A.T
    outputs = []
    for index, (weight, factor, part) in enumerate(zip(W, B, _by_layer(u, B), strict=True)):
        y = torch.addmm(bias[index], rows, weight.T) if bias else rows @ weight.T
        outputs.append(y.addmm_(part, factor.T).view(*x.shape[:-1], weight.shape[0]))
    return [*outputs, u]


def _by_layer(joined: Tensor, B: Weights) -> tuple[Tensor, ...]:
    """Return the columns of u or v that belong to each layer."""
    return torch.split(joined, [factor.shape[1] for factor in B], dim=1)


@pair_product.register_fake
def _(x: Tensor, W: Weights, _bias: Weights, A: Tensor, _B: Weights) -> list[Tensor]:
    rows = x.numel() // x.shape[-1]
    return [*(x.new_empty(*x.shape[:-1], weight.shape[0]) for weight in W), x.new_empty(rows, A.shape[0])]


@torch.library.custom_op("bilora::pair_product_backward", mutates_args=())
def pair_product_backward(
    gradients: Weights, x: Tensor, u: Tensor, W: Weights, A: Tensor, B: Weights, input_too: bool
) -> list[Tensor]:
    """Return the gradients of A, of every B_i and, if asked for, last of x.

    Args:
        gradients: g_i of every y_i, (..., m_i).
        x: As in `pair_product`.
        u: The last output of `pair_product`.
        W: As in `pair_product`.
        A: As in `pair_product`.
        B: As in `pair_product`.
        input_too: Whether the gradient of x is wanted.
    """
    rows = x.reshape(-1, x.shape[-1])
    flat = [g.reshape(-1, g.shape[-1]) for g in gradients]
    v = torch.empty_like(u)
    for g, factor, part in zip(flat, B, _by_layer(v, B), strict=True):
        torch.mm(g, factor, out=part)
    found = [v.T @ rows, *(g.T @ part for g, part in zip(flat, _by_layer(u, B), strict=True))]
    if input_too:
        dx = flat[0] @ W[0]
        for g, weight in zip(flat[1:], W[1:], strict=True):
            dx.addmm_(g, weight)
        found.append(dx.addmm_(v, A).view_as(x))
    return found


@pair_product_backward.register_fake
def _(_gradients: Weights, x: Tensor, _u: Tensor, _W: Weights, A: Tensor, B: Weights, input_too: bool) -> list[Tensor]:
    found = [A.new_empty(A.shape), *(factor.new_empty(factor.shape) for factor in B)]
    return [*found, x.new_empty(x.shape)] if input_too else found


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, W, bias, A, B = inputs
    ctx.layers, ctx.biases = len(W), len(bias)
    ctx.save_for_backward(x, output[-1], A, *W, *B)


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    x, u, A, *weights = ctx.saved_tensors
    W, B = weights[: ctx.layers], weights[ctx.layers :]
    outer = gradients[:-1]  # nobody reads u but this function
    if torch.is_grad_enabled():
        dA, dB, dx = _differentiable(outer, x, A, W, B)
        return dx, [None] * ctx.layers, [None] * ctx.biases, dA, dB
    input_too = ctx.needs_input_grad[0]
    dA, *dB = pair_product_backward(outer, x, u, W, A, B, input_too)
    return dB.pop() if input_too else None, [None] * ctx.layers, [None] * ctx.biases, dA, dB


def _differentiable(
    gradients: list[Tensor], x: Tensor, A: Tensor, W: list[Tensor], B: list[Tensor]
) -> tuple[Tensor, list[Tensor], Tensor]:
    rows = x.reshape(-1, x.shape[-1])
    flat = [g.reshape(-1, g.shape[-1]) for g in gradients]
    inner = _by_layer(rows @ A.T, B)
    v = torch.cat([g @ factor for g, factor in zip(flat, B, strict=True)], dim=1)
    dx = v @ A + torch.stack([g @ weight for g, weight in zip(flat, W, strict=True)]).sum(0)
    return v.T @ rows, [g.T @ part for g, part in zip(flat, inner, strict=True)], dx.view_as(x)


pair_product.register_autograd(_backward, setup_context=_setup)
