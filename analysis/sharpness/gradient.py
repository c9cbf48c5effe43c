"""The gradient's norm and the part of it that a low-rank perturbation can use.

    ||G||_{(r)} = sqrt(sum_l sum_{i <= r} sigma_i(G_l)^2)

times rho is the largest first-order rise that perturbations of rank r per layer and global norm rho can reach: the
correct form of the Bi-LoRA paper's Proposition 3, whose printed Ky Fan norm belongs to a ball of the operator norm
instead. Ky Fan and nuclear norm are given beside it. Layers too large for a full decomposition are treated by
randomised iteration and say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from analysis import vectors
from analysis.singular import EXACT_SIZE, as_matrix, singular_triplets


@dataclass(frozen=True)
class LayerGradient:
    """The gradient of one block.

    Attributes:
        name: The block's name.
        norm: ||G_l||_F.
        singular_values: The leading ones, largest first, at most `rank`.
        nuclear: Sum of all singular values, None if they were not all computed.
        residual: Of the leading triplets, relative to the largest value; 0 for a full decomposition.
    """

    name: str
    norm: float
    singular_values: tuple[float, ...]
    nuclear: float | None
    residual: float


@dataclass(frozen=True)
class GradientNorms:
    """Norms of a gradient over all blocks.

    Attributes:
        rank: r.
        norm: ||G||_F = sqrt(sum_l ||G_l||_F^2).
        top_rank: sqrt(sum_l sum_{i <= r} sigma_i(G_l)^2).
        ky_fan: sum_l sum_{i <= r} sigma_i(G_l).
        nuclear: sum_l sum_i sigma_i(G_l), None if a block was not decomposed fully.
        layers: By block.
    """

    rank: int
    norm: float
    top_rank: float
    ky_fan: float
    nuclear: float | None
    layers: tuple[LayerGradient, ...]


def gradient_norms(
    gradient: Sequence[Tensor],
    names: Sequence[str],
    *,
    rank: int = 8,
    exact_size: int = EXACT_SIZE,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> GradientNorms:
    """Return the norms of a gradient, taken in the full space to be those of the formula above.

    Args:
        gradient: One block per layer: matrices (m, n), convolutions (m, ...), or vectors, which count as one row.
        names: The blocks' names.
        rank: r, at least 1.
        exact_size: Largest min(m, n) that is decomposed fully.
        tolerance: Relative residual of the others' triplets.
        seed: Seed of the randomised iteration.

    Raises:
        SettingsError: The rank is not positive.
    """
    layers = []
    for name, block in zip(names, gradient, strict=True):
        found = singular_triplets(as_matrix(block), rank, exact_size=exact_size, tolerance=tolerance, seed=seed)
        leading = tuple(found.S.tolist())
        nuclear = sum(leading) + float(found.tail.sum()) if found.tail is not None else None
        layers.append(LayerGradient(name, vectors.norm([block]), leading, nuclear, found.residual))
    nuclears = [layer.nuclear for layer in layers if layer.nuclear is not None]
    return GradientNorms(
        rank=rank,
        norm=math.hypot(*(layer.norm for layer in layers)),
        top_rank=math.hypot(*(value for layer in layers for value in layer.singular_values)),
        ky_fan=sum(value for layer in layers for value in layer.singular_values),
        nuclear=sum(nuclears) if len(nuclears) == len(layers) else None,
        layers=tuple(layers),
    )
