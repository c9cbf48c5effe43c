"""The norms in which a radius is measured, and the conversion of a radius from one into another.

    ||dW||_T = sqrt(sum_l sum_ij (dW_l,ij / T_l,ij)^2),     T = 1 (absolute), |W| + eta (adaptive), row norms (filter)

Adaptive is the norm of ASAM (Kwon et al., 2021), which does not change when units are rescaled; filter measures each
row against its own length, as landscape plots do (Li et al., 2018). All three measure the change of the weight
matrices, in every space, so one radius means one thing; a record keeps the length of its point in all of them, and the
Euclidean length in the coordinates of the space, in which LoRA-SAM states its radius.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import DirectionError, SettingsError, nearest
from analysis.sharpness.displacement import weight_moves
from analysis.spaces import LoraSpace, ParameterSpace
from analysis.spaces.radius import smallest_scale
from analysis.vectors import Vector

#: Names of the norms in which a radius can be given, see `WeightNorm`.
NORMS = ("absolute", "adaptive", "filter")


@dataclass(frozen=True)
class Lengths:
    """The length of one move in every norm.

    Attributes:
        absolute: ||dW||_F.
        adaptive: ||dW / (|W| + eta)||_F.
        filter: ||dW / row norms of W||_F.
        coordinates: Euclidean norm of the vector in the coordinates of its space.
    """

    absolute: float
    adaptive: float
    filter: float
    coordinates: float


@dataclass(frozen=True)
class WeightNorm:
    """One norm of the weights' change.

    Attributes:
        name: `absolute`, `adaptive` or `filter`.
        eta: Added to |W| in the adaptive norm; the least row norm that counts in the filter norm. ASAM's own
            default is 0.01. Without it a weight that is zero could not move.

    Raises:
        SettingsError: The name is unknown or eta is not positive.
    """

    name: str = "absolute"
    eta: float = 0.01

    def __post_init__(self) -> None:
        """Refuse an unknown norm, and an eta that is not positive."""
        if self.name not in NORMS:
            raise SettingsError(f"unknown norm {self.name!r}{nearest(self.name, NORMS)}; known: {', '.join(NORMS)}")
        if not self.eta > 0:
            raise SettingsError(f"eta is {self.eta}; expected a positive number such as 0.01")

    def scale(self, weight: Tensor) -> Tensor | float:
        """Return T of one weight, of its shape or broadcast to it; a weight without rows counts as one row.

        Args:
            weight: W, of any shape (m, ...).
        """
        if self.name == "absolute":
            return 1.0
        if self.name == "adaptive":
            return weight.abs() + self.eta
        rows = weight.reshape(len(weight) if weight.dim() > 1 else 1, -1)
        lengths: Tensor = torch.linalg.vector_norm(rows, dim=1).clamp_min(self.eta)
        shape = [-1, *[1] * (weight.dim() - 1)] if weight.dim() > 1 else [1] * weight.dim()
        return lengths.view(shape)

    def length(self, space: ParameterSpace, vector: Sequence[Tensor]) -> float:
        """Return ||dW||_T of moving along a vector from the unmoved weights.

        Args:
            space: The coordinates.
            vector: A vector of the space.
        """
        with space:
            if self.name == "absolute":
                return space.displacement_norm(vector)
            return math.sqrt(max(sum(self._coefficients(space, vector)), 0.0))

    def scale_to_radius(self, space: ParameterSpace, vector: Sequence[Tensor], radius: float) -> float:
        """Return the smallest t > 0 at which moving by t vector has a wanted length.

        Args:
            space: The coordinates.
            vector: A vector of the space.
            radius: The length, positive.

        Raises:
            DirectionError: The vector does not move the weights.
        """
        with space:
            if self.name == "absolute":
                return space.scale_to_radius(vector, radius)
            return smallest_scale(*self._coefficients(space, vector), radius)

    def ascent_direction(self, space: ParameterSpace, gradient: Sequence[Tensor]) -> Vector:
        """Return the direction of a gradient step in this norm, a vector of the space.

        In the full space it is T^2 G, the maximiser of <G, dW> at a given ||dW||_T; in a subspace of the weights
        P T^2 P G, which rises but need not rise steepest unless T is constant; in a space of factors the
        gradient of the factors.

        Args:
            space: The coordinates.
            gradient: dL/dtheta, a vector of the space.
        """
        if self.name == "absolute" or isinstance(space, LoraSpace):
            return list(gradient)
        with space:
            moves = weight_moves(space, gradient)
            return space.project([move.linear * self.scale(move.weight) ** 2 for move in moves])

    def random_direction(self, space: ParameterSpace, *, seed: int, stream: str) -> Vector:
        """Return T z, z a standard normal vector of the space (P T P z in a subspace of the weights, z of factors).

        Args:
            space: The coordinates.
            seed: Seed shared by all that is drawn for one measurement.
            stream: Name of the draw.
        """
        with space:
            direction = space.random_direction(seed=seed, stream=stream)
            if self.name == "absolute" or isinstance(space, LoraSpace):
                return direction
            moves = weight_moves(space, direction)
            return space.project([move.linear * self.scale(move.weight) for move in moves])

    def _coefficients(self, space: ParameterSpace, vector: Sequence[Tensor]) -> tuple[float, float, float]:
        """Return (c2, c3, c4) of ||dW(t)||_T^2 = c2 t^2 + c3 t^3 + c4 t^4."""
        c2 = c3 = c4 = 0.0
        for move in weight_moves(space, vector):
            scale = self.scale(move.weight)
            linear = [move.linear / scale]
            c2 += vectors.dot(linear, linear)
            if move.bilinear is not None:
                bilinear = [move.bilinear / scale]
                c3 += 2 * vectors.dot(linear, bilinear)
                c4 += vectors.dot(bilinear, bilinear)
        return c2, c3, c4


#: The plain L2 norm.
ABSOLUTE = WeightNorm("absolute")


def lengths(space: ParameterSpace, vector: Sequence[Tensor], *, eta: float = 0.01) -> Lengths:
    """Return the length in every norm of moving along a vector from the unmoved weights.

    Args:
        space: The coordinates; not to be displaced while this is called.
        vector: A vector of the space.
        eta: See `WeightNorm`.
    """
    found = {name: WeightNorm(name, eta).length(space, vector) for name in NORMS}
    return Lengths(**found, coordinates=vectors.norm(vector))


def convert_radius(
    space: ParameterSpace,
    vector: Sequence[Tensor],
    radius: float,
    *,
    norm: WeightNorm = ABSOLUTE,
) -> Lengths:
    """Return the lengths in every norm of the multiple of a vector that has length `radius` in `norm`.

    So a radius given in one norm or in the factors of LoRA-SAM is read off in another, for one direction: there is no
    factor that would serve all directions.

    Args:
        space: The coordinates.
        vector: The direction, a vector of the space.
        radius: Length in `norm`, positive.
        norm: The norm in which the radius is given.

    Raises:
        SettingsError: The radius is not positive.
        DirectionError: The vector does not move the weights.
    """
    check_radius(radius)
    if vectors.norm(vector) == 0.0:
        raise DirectionError(f"the direction is zero in the {space.name} space; no multiple has length {radius}")
    with space:
        reach = norm.scale_to_radius(space, vector, radius)
        return lengths(space, vectors.scale(vector, reach), eta=norm.eta)


def check_radius(radius: float, *, name: str = "radius") -> None:
    """Refuse a radius that is not a positive number, under the name that the caller knows it by."""
    if not (radius > 0 and math.isfinite(radius)):
        raise SettingsError(f"{name} is {radius}; expected a positive distance such as 0.05")
