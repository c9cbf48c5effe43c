"""How good an adversary is: the first-order rise it makes against the most that any of its rank and radius could.

    quality = <G, dW> / (rho sqrt(sum_l sum_{i <= r} sigma_i(G_l)^2))   in [-1, 1] for ||dW||_F <= rho, rank(dW_l) <= r

The bound is von Neumann's trace inequality and Cauchy-Schwarz, the correct form of the Bi-LoRA paper's Proposition 3,
and is attained by `optimal_adversary`. The cosine of G and dW is the same measure against an adversary of any rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from analysis import low_rank, vectors
from analysis.errors import DirectionError, SettingsError
from analysis.low_rank import Factors
from analysis.sharpness.norms import check_radius
from analysis.singular import EXACT_SIZE, SingularTriplets, singular_triplets


@dataclass(frozen=True)
class AdversaryQuality:
    """What a perturbation achieves to first order.

    Attributes:
        quality: rise / best_rise.
        cosine: rise / (||G|| ||dW||), None for a perturbation of zero.
        rise: <G, dW>, the loss increase to first order.
        best_rise: rho sqrt(sum_l sum_{i <= r} sigma_i^2), the most at this radius and rank.
        perturbation_norm: ||dW||_F = sqrt(sum_l ||dW_l||_F^2).
        radius: rho.
        rank: r.
    """

    quality: float
    cosine: float | None
    rise: float
    best_rise: float
    perturbation_norm: float
    radius: float
    rank: int


def adversary_quality(
    gradient: Sequence[Tensor],
    perturbation: Sequence[Factors | Tensor],
    *,
    radius: float | None = None,
    rank: int | None = None,
    exact_size: int = EXACT_SIZE,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> AdversaryQuality:
    """Return the quality of a perturbation of the weights.

    Args:
        gradient: G_l (m, n) of every layer, in the full space.
        perturbation: dW_l of the same layers in the same order: factors (A, B, s), or dense matrices.
        radius: rho of the ball; None takes ||dW||_F, which judges the direction alone.
        rank: r of the bound; None takes the largest rank of the factors.
        exact_size: Largest min(m, n) whose singular values are computed fully.
        tolerance: Relative residual of the others.
        seed: Seed of the randomised iteration.

    Raises:
        SettingsError: No rank is given for dense matrices, the layers do not match, or the radius is not positive.
        DirectionError: The gradient is zero, or the perturbation is and no radius is given.
    """
    if len(gradient) != len(perturbation):
        raise SettingsError(f"{len(perturbation)} layers of the perturbation for {len(gradient)} of the gradient")
    rises, squares, ranks = [], [], []
    for matrix, part in zip(gradient, perturbation, strict=True):
        if isinstance(part, Tensor):
            rises.append(vectors.dot([matrix], [part]))
            squares.append(vectors.dot([part], [part]))
        else:
            rises.append(low_rank.inner_with_matrix(part, matrix))
            squares.append(low_rank.inner(part, part))
            ranks.append(len(part[0]))
    if rank is None and len(ranks) < len(gradient):
        raise SettingsError("the perturbation is dense; give rank=, the rank of the adversaries it is compared with")
    chosen = rank if rank is not None else max(ranks)
    length = math.sqrt(max(sum(squares), 0.0))
    if radius is None and length == 0.0:
        raise DirectionError("the perturbation is zero; give radius=, or leave it out")
    bound = length if radius is None else radius
    check_radius(bound)
    found = [singular_triplets(g, chosen, exact_size=exact_size, tolerance=tolerance, seed=seed) for g in gradient]
    best = bound * _top_rank_norm(found)
    rise, steepest = sum(rises), vectors.norm(gradient)
    return AdversaryQuality(
        quality=rise / best,
        cosine=rise / (steepest * length) if length else None,
        rise=rise,
        best_rise=best,
        perturbation_norm=length,
        radius=bound,
        rank=chosen,
    )


def optimal_adversary(
    gradient: Sequence[Tensor],
    *,
    radius: float,
    rank: int,
    exact_size: int = EXACT_SIZE,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> list[Factors]:
    """Return E_l* = rho U_l S_l V_l^T / sqrt(sum_k ||S_k||_F^2) as factors.

    U_l, S_l, V_l are the leading r singular triplets of G_l. It maximises <G, E> over rank(E_l) <= r and sqrt(sum_l
    ||E_l||_F^2) <= rho, uniquely if sigma_r > sigma_{r+1}. The square root of the singular values goes to either
    factor, so the pair is balanced; s = 1.

    Args:
        gradient: G_l (m, n) of every layer.
        radius: rho > 0.
        rank: r >= 1.
        exact_size: Largest min(m, n) that is decomposed fully.
        tolerance: Relative residual of the others' triplets.
        seed: Seed of the randomised iteration.

    Raises:
        SettingsError: The radius or the rank is not positive.
        DirectionError: The gradient is zero.
    """
    check_radius(radius)
    found = [singular_triplets(g, rank, exact_size=exact_size, tolerance=tolerance, seed=seed) for g in gradient]
    multiple = radius / _top_rank_norm(found)
    roots = [(multiple * triplets.S).sqrt() for triplets in found]
    return [(root[:, None] * t.V.mT, t.U * root, 1.0) for t, root in zip(found, roots, strict=True)]


def _top_rank_norm(found: Sequence[SingularTriplets]) -> float:
    """Return sqrt(sum_l sum_{i <= r} sigma_i^2), which must not be zero."""
    total = vectors.norm([triplets.S for triplets in found])
    if total == 0.0:
        raise DirectionError("the gradient is zero in every layer, so no adversary is better than another")
    return total
