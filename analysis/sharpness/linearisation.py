"""Loss and gradient at the unmoved weights, which every measurement of sharpness starts from.

They cost one pass over the data, so they are taken once and handed to whatever needs them.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis import vectors
from analysis.objective import Objective
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Loss and gradient at the unmoved weights, taken once and used by several measurements.

    Attributes:
        loss: L.
        gradient: dL/dtheta in the coordinates of the space (projected, in the tangent space).
        gradient_norm: Its Euclidean norm.
    """

    loss: float
    gradient: Vector
    gradient_norm: float


def linearise(objective: Objective, space: ParameterSpace) -> Linearisation:
    """Return loss and gradient at the current weights in the coordinates of a space.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates.

    Raises:
        ObjectiveError: The loss is not finite, no token is counted, or no coordinate is reached.
    """
    with space:
        loss, gradient = objective.value_and_gradient(space.tensors)
        gradient = space.project(gradient)
    return Linearisation(loss, gradient, vectors.norm(gradient))
