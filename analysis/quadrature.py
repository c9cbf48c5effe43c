"""Gauss quadrature of a symmetric operator's spectral measure, from one Lanczos run (Golub and Welsch, 1969).

For a unit vector q, q^T f(M) q = sum_j w_j f(theta_j) is exact for every polynomial f of degree up to 2 m - 1, with
theta_j the eigenvalues of the m x m projected matrix and w_j the squared first entries of its eigenvectors. With a
kept basis the nodes are Ritz values; with a bare three-term recurrence converged outer eigenvalues reappear as copies
that share one weight, which a density does not show but a list of eigenvalues would.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analysis import vectors
from analysis.basis_storage import StorageName
from analysis.errors import AnalysisError
from analysis.krylov import Floats, KrylovBasis
from analysis.operators import CurvatureOperator
from analysis.progress import Progress


def gauss_quadrature(
    operator: CurvatureOperator,
    start: Sequence[Tensor],
    *,
    steps: int,
    reorthogonalise: bool,
    storage: StorageName,
    dtype: torch.dtype | None,
    on_progress: Progress,
) -> tuple[Floats, Floats]:
    """Return nodes, ascending, and weights, which sum to 1, of the measure of start / ||start||.

    Args:
        operator: Symmetric.
        start: Any vector of the domain but zero; it may be overwritten.
        steps: Nodes wanted; there are fewer if the Krylov space ends.
        reorthogonalise: Whether to keep a basis of `steps` vectors; without it three are held.
        storage: Where the basis lies.
        dtype: Type it is kept in; None for that of the products.
        on_progress: Called after each product.

    Raises:
        AnalysisError: A product is not finite.
    """
    epsilon = max(torch.finfo(vectors.working_dtype(block.dtype)).eps for block in start)
    if reorthogonalise:
        basis = KrylovBasis(start, steps, storage=storage, dtype=dtype)
        projected = _in_a_basis(operator, start, basis, epsilon, on_progress)
    else:
        projected = _by_recurrence(operator, start, steps, epsilon, on_progress)
    nodes, rotation = np.linalg.eigh(projected)
    return nodes, rotation[0] ** 2


def _in_a_basis(
    operator: CurvatureOperator, start: Sequence[Tensor], basis: KrylovBasis, epsilon: float, on_progress: Progress
) -> Floats:
    vector, length = list(start), vectors.norm(start)
    while True:
        basis.append(vector, length)
        column = basis.size - 1
        vector, coefficients, length = basis.orthogonalise(operator.matvec(basis.vector(column)))
        basis.set_column(column, coefficients)
        projected = basis.projected[: basis.size, : basis.size]
        if _ends(projected, length, epsilon, basis.capacity, on_progress):
            return projected


def _by_recurrence(
    operator: CurvatureOperator, start: Sequence[Tensor], steps: int, epsilon: float, on_progress: Progress
) -> Floats:
    """M q_j = beta_(j-1) q_(j-1) + alpha_j q_j + beta_j q_(j+1)."""
    projected = np.zeros((steps, steps))
    before, vector = vectors.zeros_like(start), vectors.scale(start, 1.0 / vectors.norm(start))
    for column in range(steps):
        product = operator.matvec(vector)
        projected[column, column] = vectors.dot(vector, product)
        for old, middle, new in zip(before, vector, product, strict=True):
            new.add_(middle, alpha=-projected[column, column])
            if column:
                new.add_(old, alpha=-projected[column - 1, column])
        length = vectors.norm(product)
        if _ends(projected[: column + 1, : column + 1], length, epsilon, steps, on_progress):
            break
        projected[column, column + 1] = projected[column + 1, column] = length
        before, vector = vector, [block.div_(length) for block in product]
    return projected[: column + 1, : column + 1]


def _ends(projected: Floats, length: float, epsilon: float, steps: int, on_progress: Progress) -> bool:
    """Report, and return whether the steps are taken or the remainder is rounding, so that the quadrature is exact."""
    if not np.isfinite(length):
        raise AnalysisError("a curvature product is not finite; check the weights, or use a wider type")
    done = len(projected)
    on_progress(done / steps, f"{done} of {steps} products")
    return done == steps or length <= 8 * epsilon * float(np.linalg.norm(projected))
