"""Comparing a compiled layer with double backward, once for each kind of layer, before its products are used.

The compiled function differentiates a derivative once more. PyTorch treats what some operations save for their
backward as constants there, as the mean and variance of a layer norm, and says nothing. Layer norms are written out
(`analysis.operators.layer_kind`); any other operation of that sort is found here, in the first layer of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from analysis import vectors
from analysis.errors import SecondDerivativeError
from analysis.modes import evaluation_mode, widened
from analysis.operators.double_backward import dual_gradients
from analysis.operators.duals import DualTensors, keeping_saved
from analysis.operators.pairs import LayerTree, floating_leaves

GradientFunction = Callable[
    [Sequence[Tensor | None], Sequence[Tensor | None]],
    tuple[Sequence[Tensor | None], Sequence[Tensor | None], Sequence[Tensor | None]],
]
"""`gradients(d, d')` -> gradients of the moving arguments, their changes, and the weights' share."""


def check_against_double_backward(
    gradients: GradientFunction,
    layer: nn.Module,
    forward: Callable[..., Any],
    inputs: LayerTree,
    moving: Sequence[int],
    blocks: Sequence[int],
    duals: DualTensors,
) -> None:
    """Refuse a function whose derivatives of a layer are not those of double backward.

    Args:
        gradients: The function under test.
        layer: The layer.
        forward: Runs it as it is.
        inputs: Its arguments.
        moving: Which of their floating tensors move.
        blocks: The block of each weight's share.
        duals: The tensors of the space.

    Raises:
        SecondDerivativeError: They differ by more than rounding.
    """
    leaves = [value.detach().requires_grad_() for value in inputs.values]
    with (
        widened(list(layer.modules()), duals.compute_dtype),
        duals.leaves(duals.within(layer)) as weights,
        keeping_saved(),
        evaluation_mode(layer),
    ):
        args, options = inputs.filled(leaves)
        outputs = floating_leaves(forward(*args, **options))
    first, second = ([_random(y, f"{order}-{i}") for i, y in enumerate(outputs)] for order in ("first", "second"))
    moves = [None if tangent is None else tangent.detach() for tangent in inputs.tangents]
    moves += [duals.tangent(block) for block in weights]
    values, changes = dual_gradients(outputs, [*leaves, *weights.values()], moves, first, second)
    expected = dict(zip(weights, changes[len(leaves) :], strict=True))
    found_values, found_changes, shares = gradients(first, second)
    summed: dict[int, Tensor] = {}
    for block, share in zip(blocks, shares, strict=True):
        if share is not None:
            summed[block] = summed[block] + share if block in summed else share
    groups = (
        (found_values, [values[i] for i in moving]),
        (found_changes, [changes[i] for i in moving]),
        ([summed.get(block) for block in expected], list(expected.values())),
    )
    for found, wanted in groups:
        error = _relative_difference(found, wanted)
        epsilon = max((torch.finfo(tensor.dtype).eps for tensor in found if tensor is not None), default=0.0)
        # Layers that compute their norms in float32 whatever their type are exact to its rounding only, and float32
        # may be TF32.
        if error > max(math.sqrt(epsilon), 1e-4 if epsilon < 1e-10 else 5e-3):
            raise SecondDerivativeError(
                f"the compiled product of a {type(layer).__name__} differs from double backward by {error:.1%}: one of "
                "its operations has no right third derivative; leave compile_layers off"
            )


def _random(like: Tensor, name: str) -> Tensor:
    generator = vectors.block_generator(0, name, stream="compiled-layer")
    return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)


def _relative_difference(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> float:
    difference = size = 0.0
    for one, other in zip(found, expected, strict=True):
        present = one if one is not None else other
        if present is None:
            continue
        a, b = (torch.zeros_like(present) if tensor is None else tensor.detach() for tensor in (one, other))
        difference += float((a.double() - b.double()).square().sum())
        size += float(b.double().square().sum())
    return math.sqrt(difference / size) if size > 0 else math.sqrt(difference)
