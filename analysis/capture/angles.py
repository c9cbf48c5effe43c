"""Angles between the subspaces that meet in Bi-LoRA: of the two adapters, the gradient, and the sharp directions.

For factors B A the directions of W that moving them reaches to first order are T = {B a + b A}; with P_B and P_A the
projectors onto Col(B) and Row(A) the projector onto T is P = I - (I - P_B) x (I - P_A). Hence

    tr(P P') = mn - (m-k)(n-l) - (m-k')(n-l') + tr((I-P_B)(I-P_B')) tr((I-P_A)(I-P_A')),   k, l the ranks of B, A
    ||Z||^2 - ||P Z||^2 = ||(I - P_B) Z (I - P_A)||^2

and nothing of size mn x mn is ever formed. Principal angles are those of Björck and Golub (1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import DirectionError, SettingsError
from analysis.low_rank import Factors
from analysis.singular import as_matrix, singular_triplets
from analysis.spaces import column_basis


@dataclass(frozen=True)
class LayerAngles:
    """Angles between two low-rank matrices of one layer.

    Attributes:
        name: The layer.
        columns: Principal angles between Col(B) and Col(B'), radians, smallest first.
        rows: The same between Row(A) and Row(A').
        tangent_overlap: tr(P P') / min(tr P, tr P'), the mean squared cosine of the principal angles between the two
            tangent spaces: 1 if one contains the other, 0 if they are orthogonal or one is empty.
    """

    name: str
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    tangent_overlap: float


def principal_angles(first: Tensor, second: Tensor) -> tuple[float, ...]:
    """Return the principal angles between Col(first) and Col(second), radians, smallest first.

    Angles come from cosines where these are small and from sines where they are near one, since the arc cosine loses
    half the digits there (Knyazev and Argentati, 2002).

    Args:
        first: Matrix (m, k).
        second: Matrix (m, l).

    Returns:
        min(rank(first), rank(second)) angles; none if either is zero.
    """
    x, y = _basis(first), _basis(second)
    if x.shape[1] < y.shape[1]:
        x, y = y, x
    if y.shape[1] == 0:
        return ()
    cosines = torch.linalg.svdvals(x.mT @ y).clamp(max=1.0)
    sines = torch.linalg.svdvals(y - x @ (x.mT @ y)).flip(0).clamp(max=1.0)
    angles = torch.where(cosines.square() > 0.5, torch.arcsin(sines), torch.arccos(cosines))
    return tuple(angles.tolist())


def adapter_angles(
    names: Sequence[str], first: Sequence[Factors], second: Sequence[Factors]
) -> tuple[LayerAngles, ...]:
    """Return, layer by layer, the angles between two adapters, or an adapter and `optimal_adversary` or `leading_part`.

    Args:
        names: The layers' names.
        first: Factors (A, B, s) of each layer.
        second: Factors of the same layers, of any rank.

    Raises:
        ValueError: The numbers of layers differ.
    """
    found = []
    for name, (a, b, _), (a2, b2, _) in zip(names, first, second, strict=True):
        found.append(
            LayerAngles(name, principal_angles(b, b2), principal_angles(a.mT, a2.mT), _tangent_overlap(a, b, a2, b2))
        )
    return tuple(found)


def tangent_share(vector: Sequence[Tensor], factors: Sequence[Factors]) -> float:
    """Return ||P v||^2 / ||v||^2, the share of a direction of W that moving the factors can reach to first order.

    For a Hessian eigenvector of the full space it says how much of that sharp direction an adapter sees.

    Args:
        vector: One block (m, n) per layer.
        factors: (A, B, s) of the same layers.

    Raises:
        DirectionError: The vector is zero.
        SettingsError: The numbers of layers differ.
    """
    if len(vector) != len(factors):
        raise SettingsError(f"{len(vector)} blocks for {len(factors)} layers; the vector must be one of the full space")
    outside = total = 0.0
    for block, (a, b, _) in zip(vector, factors, strict=True):
        rest = block.double()
        columns, rows = _basis(b), _basis(a.mT)
        rest = rest - columns @ (columns.mT @ rest)
        rest = rest - (rest @ rows) @ rows.mT
        outside += vectors.dot([rest], [rest])
        total += vectors.dot([block], [block])
    if total == 0.0:
        raise DirectionError("the vector is zero, so no share of it is anywhere")
    return 1.0 - outside / total


def leading_part(vector: Sequence[Tensor], *, rank: int) -> list[Factors]:
    """Return the best approximation of rank r of every block, as factors: of an eigenvector, for `adapter_angles`.

    Args:
        vector: One block (m, n) per layer, of any dimensions (m, ...).
        rank: r, at least 1.
    """
    found = [singular_triplets(as_matrix(block), rank) for block in vector]
    return [(t.S[:, None] * t.V.mT, t.U, 1.0) for t in found]


def _basis(matrix: Tensor) -> Tensor:
    """Return an orthonormal basis of Col(matrix) in float64, empty for a matrix of zeros."""
    return column_basis(matrix).double()


def _tangent_overlap(a: Tensor, b: Tensor, a2: Tensor, b2: Tensor) -> float:
    """Return tr(P P') / min(tr P, tr P') of the tangent spaces at two products of the same shape."""
    (m, n), u, v, u2, v2 = (len(b), a.shape[1]), _basis(b), _basis(a.mT), _basis(b2), _basis(a2.mT)
    outside = (m - u.shape[1]) * (n - v.shape[1])
    outside2 = (m - u2.shape[1]) * (n - v2.shape[1])
    columns = m - u.shape[1] - u2.shape[1] + float((u.mT @ u2).square().sum())
    rows = n - v.shape[1] - v2.shape[1] + float((v.mT @ v2).square().sum())
    smaller = m * n - max(outside, outside2)
    return (m * n - outside - outside2 + columns * rows) / smaller if smaller else 0.0
