"""The directions along which a landscape is cut.

Random directions are filter-normalised (Li et al., 2018): each row of a Gaussian draw is scaled to the norm of the same
row of the weights, so that alpha is relative. A row is an output unit of a linear layer, a token of an embedding, an
output channel of a convolution; the weight of a norm or a bias is one row, or stays fixed, as in Li et al. Tied weights
are one block of a space and so move once. Draws depend on the seed and the blocks' names alone (of large models also
on whether they lie on the CPU), which is how models that are compared are cut along the same ones; gradient,
eigenvector and init-to-final directions belong to one model, and are shared through a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import DirectionError, SettingsError
from analysis.spaces import ParameterSpace, WeightSpace
from analysis.vectors import Vector

OneDimensional = Literal["row", "fixed"]
"""What becomes of norm weights and biases: each one row, or not moved."""


def filter_normalise(
    space: ParameterSpace, vector: Sequence[Tensor], *, one_dimensional: OneDimensional = "row"
) -> Vector:
    """Return a vector of the space whose rows have the norms of the weights' rows.

    Args:
        space: Gives the row norms: of the merged matrices in the full space, of the balanced factors in the lora
            space. In the tangent space the vector is projected after scaling.
        vector: A vector of the space. A row of zeros stays zero.
        one_dimensional: Whether a vector of parameters counts as one `row` or stays `fixed`.

    Raises:
        SettingsError: `one_dimensional` is neither.
    """
    if one_dimensional not in ("row", "fixed"):
        raise SettingsError(f"one_dimensional is {one_dimensional!r}; expected 'row' or 'fixed'")
    with space:
        scaled = []
        for block, wanted in zip(vector, space.row_norms(), strict=True):
            if block.dim() < 2 and one_dimensional == "fixed":
                scaled.append(torch.zeros_like(block))
                continue
            rows = block.reshape(len(wanted), -1)
            own = torch.linalg.vector_norm(rows, dim=1)
            factor = torch.where(own > 0, wanted / own, torch.zeros_like(own))
            scaled.append((rows * factor[:, None]).view(block.shape))
        return space.project(scaled)


def filter_normalised_direction(
    space: ParameterSpace, *, seed: int, index: int, one_dimensional: OneDimensional = "row"
) -> Vector:
    """Return a Gaussian vector of the space whose rows have the norms of the weights' rows.

    Args:
        space: Gives shapes, names and row norms.
        seed: Seed shared by the models that are compared.
        index: Which of the seed's directions.
        one_dimensional: See `filter_normalise`.
    """
    with space:
        draw = space.random_direction(seed=seed, stream=f"slice-{index}")
        return filter_normalise(space, draw, one_dimensional=one_dimensional)


def unit_direction(vector: Sequence[Tensor]) -> Vector:
    """Return vector / ||vector||, so that alpha is a distance in the coordinates: for gradients and eigenvectors.

    Args:
        vector: A vector of the space.

    Raises:
        DirectionError: The vector is zero.
    """
    length = vectors.norm(vector)
    if length == 0.0:
        raise DirectionError("the vector is zero; it gives no direction")
    return vectors.scale(vector, 1.0 / length)


def init_to_final(space: WeightSpace, initial: Sequence[Tensor] | None = None) -> Vector:
    """Return W - W_init, a vector of the space: alpha = -1 is the initial model, alpha = 0 the present one.

    Args:
        space: A space of weights of the present model, such as `full`.
        initial: The initial matrices (m, n), one per block; None takes the base weights of a PEFT model, so that the
            direction is the change that its adapters make, and zero where there is none.

    Raises:
        DirectionError: No initial weights are given and the model has no LoRA adapter to tell them from.
        SettingsError: The initial matrices have other shapes.
    """
    present = list(space.merged_weights())
    if initial is None:
        if not space.layers or any(matrix.offset is not None for matrix in space.matrices):
            raise DirectionError("the model has no plain LoRA adapter whose change could be followed; give initial=")
        initial = [now if m.layer is None else m.layer.weight for m, now in zip(space.matrices, present, strict=True)]
    if [tuple(block.shape) for block in initial] != [tuple(tensor.shape) for tensor in space.tensors]:
        raise SettingsError(f"the initial weights do not have the shapes of the {space.name} space's blocks")
    return vectors.axpy(-1.0, [block.detach().to(now) for block, now in zip(initial, present, strict=True)], present)
