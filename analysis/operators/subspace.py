"""Curvature in the span of any orthonormal basis P: the small matrix P^T M P, and how much of M P it leaves out.

A spectrum restricted to a few directions (a trajectory, an adapter's factors, the top eigenvectors of another model)
says little without knowing whether M maps that span out of itself. So the restriction comes with the share
||(I - P P^T) M P||_F / ||M P||_F: 0 for an invariant subspace, near 1 if the directions were chosen badly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import DirectionError
from analysis.operators.base import CurvatureOperator
from analysis.progress import Progress, silent
from analysis.vectors import Vector

ORTHONORMALITY = 1e-3


@dataclass(frozen=True)
class SubspaceCurvature:
    """The restriction of an operator to a subspace.

    Attributes:
        eigenvalues: Of P^T M P, largest first.
        matrix: P^T M P (k, k), by rows.
        outside: ||(I - P P^T) M P||_F / ||M P||_F; 0 if M P is zero.
        products: Products taken.
    """

    eigenvalues: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    outside: float
    products: int


class BasisOperator:
    """P^T M P as an operator on coordinates (k,), a vector of one block.

    Args:
        operator: M, symmetric.
        basis: The columns of P, orthonormal vectors of the operator's domain.

    Raises:
        DirectionError: The basis is empty or not orthonormal.
    """

    symmetric = True

    def __init__(self, operator: CurvatureOperator, basis: Sequence[Sequence[Tensor]]) -> None:
        if not basis:
            raise DirectionError("the basis is empty; expected at least one vector")
        _check_orthonormal(basis)
        self.operator = operator
        self.basis = [list(vector) for vector in basis]
        self.products = 0

    @property
    def dimension(self) -> int:
        """Number of basis vectors."""
        return len(self.basis)

    def matvec(self, vector: Sequence[Tensor]) -> Vector:
        """Return P^T M P c, one block (k,).

        Args:
            vector: The coordinates c, one block (k,).
        """
        (coordinates,) = vector
        product = self.operator.matvec(_combine(self.basis, coordinates.tolist()))
        self.products += 1
        return [coordinates.new_tensor([vectors.dot(column, product) for column in self.basis])]

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        """Return standard normal coordinates, one block (k,), float64.

        Args:
            seed: Seed shared by all that is drawn for one measurement.
            stream: Name of the draw.
        """
        generator = vectors.block_generator(seed, "basis", stream=stream)
        return [torch.randn(len(self.basis), generator=generator, dtype=torch.float64)]


def subspace_curvature(
    operator: CurvatureOperator, basis: Sequence[Sequence[Tensor]], *, on_progress: Progress = silent
) -> SubspaceCurvature:
    """Return P^T M P with its eigenvalues, and the share of M P outside the span of P.

    Args:
        operator: M, symmetric.
        basis: The columns of P, k orthonormal vectors of the operator's domain.
        on_progress: Called after each product, of which there are k.

    Raises:
        DirectionError: The basis is empty or not orthonormal.
    """
    columns = BasisOperator(operator, basis).basis
    rows, inside, outside = [], 0.0, 0.0
    for done, column in enumerate(columns, start=1):
        image = operator.matvec(column)
        row = [vectors.dot(other, image) for other in columns]
        within = _combine(columns, row)
        outside += vectors.norm(vectors.axpy(-1.0, within, image)) ** 2
        inside += sum(value**2 for value in row)
        rows.append(row)
        on_progress(done / len(columns), f"{done} of {len(columns)} directions")
    matrix = torch.tensor(rows, dtype=torch.float64)
    matrix = (matrix + matrix.mT) / 2
    whole = inside + outside
    return SubspaceCurvature(
        eigenvalues=tuple(torch.linalg.eigvalsh(matrix).flip(0).tolist()),
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        outside=math.sqrt(outside / whole) if whole > 0 else 0.0,
        products=len(columns),
    )


def _combine(basis: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """Return sum_j weights_j basis_j, holding one vector."""
    total = [torch.zeros_like(block) for block in basis[0]]
    for vector, weight in zip(basis, weights, strict=True):
        for block, part in zip(total, vector, strict=True):
            block.add_(part, alpha=weight)
    return total


def _check_orthonormal(basis: Sequence[Sequence[Tensor]]) -> None:
    for i, first in enumerate(basis):
        for j, second in enumerate(basis[: i + 1]):
            found = vectors.dot(first, second)
            if abs(found - (i == j)) > ORTHONORMALITY:
                raise DirectionError(
                    f"the basis is not orthonormal: <{j}, {i}> is {found:.6g}, expected {float(i == j):g}; "
                    "orthonormalise the vectors first, by a QR decomposition"
                )
