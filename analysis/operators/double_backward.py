"""The derivative along a direction of a function's gradient, by double backward, for one layer at a time.

For y = f(x) with x' the move of its inputs, and the dual gradient (d, d') of y,

    gradient of x:  J^T d,       its derivative:  d/dx <J^T d, x'> + J^T d'

since the second derivative of <d, f> is symmetric. PyTorch's own double backward gives it without dual numbers, whose
graphs hold tangents in cycles that only closing the level of differentiation frees.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from analysis.operators.duals import dual, keeping_saved, parts


def dual_gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    moves: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
    changes: Sequence[Tensor | None],
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Return the gradients of the inputs and their derivatives along v.

    Args:
        outputs: y, recorded.
        inputs: x, which require gradients.
        moves: x'; None for zero.
        gradients: d; None for zero.
        changes: d'; None for zero.
    """
    reached = [(y, d) for y, d in zip(outputs, gradients, strict=True) if d is not None and y.requires_grad]
    with keeping_saved():
        first: Sequence[Tensor | None] = torch.autograd.grad(
            [y for y, _ in reached], inputs, [d for _, d in reached], create_graph=True, allow_unused=True
        )
    pairs = [(g, move) for g, move in zip(first, moves, strict=True) if g is not None and move is not None]
    pairs += [(y, change) for y, change in zip(outputs, changes, strict=True) if change is not None]
    pairs = [(output, cotangent) for output, cotangent in pairs if output.requires_grad]
    second: Sequence[Tensor | None] = torch.autograd.grad(
        [output for output, _ in pairs], inputs, [cotangent for _, cotangent in pairs], allow_unused=True
    )
    return list(first), list(second)


def joined(gradient: Tensor | None, change: Tensor | None) -> Tensor | None:
    """Return a dual gradient from its parts, of which either may be None for zero.

    While a level is open, `detach` gives a view that remembers what it is a view of, graph included: hence the copy.
    """
    if change is None:
        return None if gradient is None else gradient.detach().clone()
    with torch.no_grad():
        value = torch.zeros_like(change) if gradient is None else gradient.clone()
        return dual(value, change)


def unrecorded(gradient: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Return a dual gradient's parts without the graph they came by, which leads to the weights of other layers."""
    if gradient is None:
        return None, None
    value, change = parts(gradient)
    return value.detach(), None if change is None else change.detach()
