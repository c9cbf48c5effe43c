"""The Bi-LoRA paper's Proposition 3, as printed and as it should be, in numbers on one matrix.

For max <G, E> over rank(E) <= r and ||E||_F <= rho the paper prints the maximiser rho U_r V_r^T and the Ky Fan norm
rho sum_{i<=r} sigma_i. That point has norm rho sqrt(r), outside the ball; the maximiser is rho U_r S_r V_r^T /
||S_r||_F and the maximum rho sqrt(sum_{i<=r} sigma_i^2). The printed form holds for the ball of the operator norm.
Random competitors of the same rank and norm, some of them close to the optimum, try to beat the corrected point and
fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis import low_rank, vectors
from analysis.capture.quality import optimal_adversary
from analysis.sharpness.norms import check_radius
from analysis.singular import singular_triplets


@dataclass(frozen=True)
class PropositionThree:
    """The two forms beside each other.

    Attributes:
        rank: r.
        radius: rho.
        printed_norm: ||rho U_r V_r^T||_F = rho sqrt(r).
        printed_value: rho sum_{i<=r} sigma_i, what that infeasible point reaches.
        printed_value_in_ball: The same point scaled to norm rho: (rho / sqrt(r)) sum_{i<=r} sigma_i.
        corrected_norm: ||E*||_F, equal to rho.
        corrected_value: <G, E*>.
        bound: rho sqrt(sum_{i<=r} sigma_i^2).
        best_competitor: Largest <G, E> of the random competitors of norm rho and rank r.
        competitors: How many there were.
        sam_value: rho ||G||_F, which the bound equals for r >= rank(G).
    """

    rank: int
    radius: float
    printed_norm: float
    printed_value: float
    printed_value_in_ball: float
    corrected_norm: float
    corrected_value: float
    bound: float
    best_competitor: float
    competitors: int
    sam_value: float


def compare_proposition_three(
    matrix: Tensor, *, rank: int, radius: float = 1.0, competitors: int = 1000, seed: int = 0
) -> PropositionThree:
    """Return both forms of the proposition evaluated on a gradient matrix G (m, n).

    Args:
        matrix: G (m, n), small enough for a full singular value decomposition.
        rank: r, at least 1.
        radius: rho > 0.
        competitors: Random points of rank r and norm rho; every other one is E* with noise of random size.
        seed: Seed of the competitors.

    Raises:
        SettingsError: The rank or the radius is not positive.
        DirectionError: The matrix is zero.
    """
    check_radius(radius)
    matrix = matrix.detach().double()
    (best,) = optimal_adversary([matrix], radius=radius, rank=rank, exact_size=min(matrix.shape))
    values = singular_triplets(matrix, rank, exact_size=min(matrix.shape)).S
    count = len(values)
    printed = radius * float(values.sum())
    generator = vectors.block_generator(seed, "competitors", stream="proposition")
    rises = []
    for index in range(competitors):
        spread = 10.0 ** float(torch.empty(()).uniform_(-3.0, 0.0, generator=generator))
        noise = [torch.randn(f.shape, generator=generator, dtype=torch.float64) for f in best[:2]]
        near = index % 2
        a, b = (near * f + (spread if near else 1.0) * e for f, e in zip(best[:2], noise, strict=True))
        rises.append(radius * low_rank.inner_with_matrix((a, b, 1.0), matrix) / low_rank.norm([(a, b, 1.0)]))
    return PropositionThree(
        rank=rank,
        radius=radius,
        printed_norm=radius * math.sqrt(count),
        printed_value=printed,
        printed_value_in_ball=printed / math.sqrt(count),
        corrected_norm=low_rank.norm([best]),
        corrected_value=low_rank.inner_with_matrix(best, matrix),
        bound=radius * vectors.norm([values]),
        best_competitor=max(rises, default=-math.inf),
        competitors=competitors,
        sam_value=radius * vectors.norm([matrix]),
    )
