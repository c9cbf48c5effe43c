"""What a move along the coordinates of a space does to the weight matrices, one matrix at a time.

Lengths in any norm are those of the change of the weights, whatever the coordinates. In a space of weights the change
is the vector itself; in a space of factors it is s (B a + b A) + s b a, whose two terms are kept apart because the
length of a multiple of the move is a polynomial in them. Matrices are yielded one by one, so that a large model needs
the memory of its largest matrix only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from analysis.spaces import LoraSpace, ParameterSpace
from analysis.vectors import Vector


@dataclass(frozen=True, eq=False)
class WeightMove:
    """One weight matrix and its change W(t) - W = t linear + t^2 bilinear under t times a vector of the space.

    Attributes:
        weight: W, unmoved, the adapter's share included.
        linear: Same shape.
        bilinear: Same shape, or None where the change is linear.
    """

    weight: Tensor
    linear: Tensor
    bilinear: Tensor | None = None


def weight_moves(space: ParameterSpace, vector: Sequence[Tensor]) -> Iterator[WeightMove]:
    """Yield the unmoved matrices and their changes, block by block; call it inside the space and not while displaced.

    Args:
        space: The coordinates.
        vector: A vector of the space.
    """
    for weight, (linear, bilinear) in zip(space.merged_weights(), _changes(space, vector), strict=True):
        yield WeightMove(weight, linear, bilinear)


def weight_change(space: ParameterSpace, vector: Sequence[Tensor]) -> Vector:
    """Return dW of moving along a vector, one dense matrix per block of the weights: a vector of the full space.

    Args:
        space: The coordinates; entered, and not displaced.
        vector: A vector of the space.
    """
    return [linear if bilinear is None else linear + bilinear for linear, bilinear in _changes(space, vector)]


def _changes(space: ParameterSpace, vector: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the linear and the bilinear part of the change of every matrix."""
    if not isinstance(space, LoraSpace):
        yield from ((block, None) for block in vector)
        return
    for layer, a, b in zip(space.layers, vector[::2], vector[1::2], strict=True):
        A, B = layer.A.detach(), layer.B.detach()
        yield layer.scaling * (B @ a + b @ A), layer.scaling * (b @ a)
