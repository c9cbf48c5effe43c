"""The path of training in the plane of its own principal components.

Checkpoints theta_1 ... theta_n are centred and their two leading principal directions taken (Li et al., 2018);
coordinates are those of theta_i - theta_n, so that the origin is the last checkpoint and a plane around it shows the
landscape that the path ran through. All comes from the n x n matrix of inner products, taken of the differences to the
last checkpoint; for adapters these are low-rank, so that no checkpoint is ever merged and only the directions are
dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis import low_rank, vectors
from analysis.errors import SettingsError
from analysis.low_rank import Factors
from analysis.vectors import Vector

Layer = Tensor | Factors
"""One block of a checkpoint: its value, or the factors (A, B, s) of its change s B A."""


@dataclass(frozen=True)
class Trajectory:
    """Where the checkpoints lie in the plane.

    Attributes:
        coordinates: Of theta_i - theta_n along each direction, one row per checkpoint; the last is zero.
        explained: Share of the checkpoints' variance along each direction.
        distances: ||theta_i - theta_n||.
        residuals: What of that distance lies outside the plane; from a difference of squares, so nothing below about
            1e-6 of the distance is meant.
    """

    coordinates: tuple[tuple[float, ...], ...]
    explained: tuple[float, ...]
    distances: tuple[float, ...]
    residuals: tuple[float, ...]


def trajectory_directions(
    checkpoints: Sequence[Sequence[Layer]], *, components: int = 2
) -> tuple[Trajectory, list[Vector]]:
    """Return the trajectory in its principal components, and these as orthonormal vectors of the full space.

    Args:
        checkpoints: In the order of training: vectors of one space, or per layer the factors (A, B, s) of an adapter.
        components: How many directions.

    Raises:
        SettingsError: There are too few checkpoints, or they do not differ in as many directions.
    """
    if components < 1 or len(checkpoints) < components + 1:
        raise SettingsError(
            f"{len(checkpoints)} checkpoints for {components} components; expected at least one more than components"
        )
    moves = [[_difference(layer, last) for layer, last in zip(c, checkpoints[-1], strict=True)] for c in checkpoints]
    products = np.array([[_inner(x, y) for y in moves] for x in moves])
    centring = np.eye(len(moves)) - 1.0 / len(moves)
    values, rotation = np.linalg.eigh(centring @ products @ centring)
    values, rotation = values[::-1], rotation[:, ::-1]
    if values[components - 1] <= 1e-12 * values[0] or values[0] <= 0.0:
        raise SettingsError(f"the checkpoints do not differ in {components} directions; take fewer components")
    weights = rotation[:, :components] / np.sqrt(values[:components])
    # The sign of an eigenvector is arbitrary; with the first checkpoint on the left, plots of two runs compare.
    weights = weights * np.where(products[0] @ weights > 0.0, -1.0, 1.0)
    coordinates = products @ weights
    squared = np.diag(products)
    outside = np.clip(squared - np.square(coordinates).sum(axis=1), 0.0, None)
    record = Trajectory(
        coordinates=tuple(tuple(row) for row in coordinates.tolist()),
        explained=tuple((values[:components] / values.clip(min=0.0).sum()).tolist()),
        distances=tuple(np.sqrt(squared.clip(min=0.0)).tolist()),
        residuals=tuple(np.sqrt(outside).tolist()),
    )
    return record, [_combine(moves, weights[:, index]) for index in range(components)]


def _difference(layer: Layer, last: Layer) -> Layer:
    """Return layer - last; of factors, as factors of the two ranks together."""
    if isinstance(layer, Tensor) and isinstance(last, Tensor):
        return layer.detach() - last.detach()
    if isinstance(layer, Tensor) or isinstance(last, Tensor):
        raise SettingsError("some checkpoints are dense and some are factors; give all of one kind")
    (a, b, s), (a2, b2, s2) = layer, last
    return torch.cat([a.detach(), a2.detach()]), torch.cat([s * b.detach(), -s2 * b2.detach()], dim=1), 1.0


def _inner(x: Sequence[Layer], y: Sequence[Layer]) -> float:
    """Return the inner product of two moves over all layers."""
    total = 0.0
    for one, other in zip(x, y, strict=True):
        if isinstance(one, Tensor):
            assert isinstance(other, Tensor)
            total += vectors.dot([one.double()], [other.double()])
        else:
            assert not isinstance(other, Tensor)
            total += low_rank.inner(one, other)
    return total


def _combine(moves: Sequence[Sequence[Layer]], weights: NDArray[np.float64]) -> Vector:
    """Return sum_i weights_i move_i, dense, layer by layer."""
    combined = []
    for layers in zip(*moves, strict=True):
        dense = (layer if isinstance(layer, Tensor) else low_rank.dense(layer) for layer in layers)
        total = torch.zeros(())
        for weight, block in zip(weights.tolist(), dense, strict=True):
            total = torch.add(block * weight, total)
        combined.append(total)
    return combined
