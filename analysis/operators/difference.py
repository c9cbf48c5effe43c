"""Hessian products by central differences of gradients, which need no second derivative.

    H v ~ (g(theta + h v) - g(theta - h v)) / 2h,        h = 1e-3 ||theta|| / ||v||

Works with fused attention, activation checkpointing and quantised bases. The step is scaled to the vector: a fixed one
loses all digits for long vectors. A small move is rounded away in bfloat16 weights, which are refused; in float32
the error is about 1e-4 of the product, in float64 that of the third derivative, of order h^2.
"""

from __future__ import annotations

import math

import torch

from analysis import vectors
from analysis.objective import Objective
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector

RELATIVE_STEP = 1e-3


class DifferenceRoute:
    """Central differences.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates.
        relative_step: ||h v|| / ||theta||, theta the weights or factors of the space.
    """

    name = "difference"

    def __init__(self, objective: Objective, space: ParameterSpace, *, relative_step: float = RELATIVE_STEP) -> None:
        self.objective = objective
        self.space = space
        self.relative_step = relative_step

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add H v, already a mean over the tokens, to `product`, and return 1 for the weight of that mean.

        Raises:
            SpaceError: The weights are too narrow to hold a small move.
        """
        length = vectors.norm(direction)
        if length == 0.0:
            return 1
        rows = [torch.linalg.vector_norm(block) for block in self.space.row_norms()]
        step = self.relative_step * math.hypot(*(float(norm) for norm in rows)) / length
        for sign in (1.0, -1.0):
            with self.space.displaced(direction, sign * step):
                gradient = self.objective.gradient(self.space.tensors)
            for block, part in zip(product, gradient, strict=True):
                block.add_(part, alpha=sign / (2 * step))
        return 1
