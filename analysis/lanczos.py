"""The thick-restart Lanczos iteration (Wu and Simon, 2000) on a bounded, fully reorthogonalised basis.

Each step takes one product, orthogonalises it against the basis and diagonalises the small projected matrix T.
A full basis is rotated to its best Ritz vectors at both ends, which together with the residual vector span a Krylov
space again, and the iteration goes on from there. The coupling of the kept vectors to the next one is read
from the orthogonalisation itself instead of being assumed, so rounding does not accumulate in T.
"""

from __future__ import annotations

import numpy as np
import torch

from analysis import vectors
from analysis.errors import AnalysisError
from analysis.krylov import Floats, KrylovBasis
from analysis.operators import CurvatureOperator
from analysis.vectors import Vector


class ThickRestartLanczos:
    """The state of one run.

    Args:
        operator: Symmetric.
        top: How many Ritz pairs are wanted at the upper end.
        bottom: How many at the lower end.
        basis_size: Basis vectors held at once, between top + bottom + 3 and the dimension (or the dimension).
        seed: Seed of the start vector.

    Attributes:
        basis: The Krylov basis.
        values: All current Ritz values, ascending; some eigenvalue lies within `residuals` of each.
        residuals: ||M x - value x|| of each Ritz pair.
        magnitude: Largest |Ritz value| of the run so far, the estimate of |lambda_max|.
        products: Products taken by this run.
        restarts: How often the basis was full.
    """

    def __init__(self, operator: CurvatureOperator, *, top: int, bottom: int, basis_size: int, seed: int) -> None:
        start = operator.random_direction(seed=seed, stream="lanczos-0")
        self.basis = KrylovBasis(start, basis_size)
        self.basis.append(start, vectors.norm(start))
        self.values: Floats = np.zeros(0)
        self.residuals: Floats = np.zeros(0)
        self.magnitude = 0.0
        self.products = 0
        self.restarts = 0
        self._operator = operator
        self._dimension = operator.dimension
        self._top = top
        self._bottom = bottom
        self._seed = seed
        self._epsilon = max(torch.finfo(block.dtype).eps for block in start)
        self._rotation: Floats = np.zeros((0, 0))
        self._next: Vector = []
        self._next_norm = 0.0

    @property
    def wanted(self) -> list[int]:
        """Positions in `values` of the wanted pairs: the largest in descending order, then the smallest ascending."""
        count = len(self.values)
        return [count - 1 - i for i in range(self._top)] + list(range(self._bottom))

    @property
    def spans_wanted(self) -> bool:
        """Whether there are enough Ritz pairs for all that are wanted."""
        return len(self.values) >= self._top + self._bottom

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole space, so that its Ritz pairs are exact."""
        return self.basis.size == self._dimension

    def relative_residuals(self) -> Floats:
        """Return residual / |lambda_max| of the wanted pairs, in their order; zero for the zero matrix."""
        return self.residuals[self.wanted] / (self.magnitude or 1.0)

    def step(self) -> None:
        """Take one product and update the Ritz pairs.

        Raises:
            AnalysisError: The product is not finite.
        """
        column = self.basis.size - 1
        product = self._operator.matvec(self.basis.vector(column))
        self.products += 1
        self._next, coefficients, self._next_norm = self.basis.orthogonalise(product)
        if not np.isfinite(self._next_norm):
            raise AnalysisError("a curvature product is not finite; check the weights, or use a wider type")
        self.basis.set_column(column, coefficients)
        leading = self.basis.projected[: column + 1, : column + 1]
        self.values, self._rotation = np.linalg.eigh(leading)
        self.magnitude = max(self.magnitude, float(np.abs(self.values).max()))
        self.residuals = self._next_norm * np.abs(self._rotation[column])

    def advance(self) -> None:
        """Extend the basis by the residual vector, after a restart if it is full."""
        if self.basis.size == self.basis.capacity:
            self._restart()
        # Below rounding the residual is noise: the basis is an invariant subspace, and a new start is needed.
        if self._next_norm <= 8 * self._epsilon * self.magnitude:
            fresh = self._operator.random_direction(seed=self._seed, stream=f"lanczos-{self.products}")
            self._next, _, self._next_norm = self.basis.orthogonalise(fresh)
        self.basis.append(self._next, self._next_norm)

    def _restart(self) -> None:
        """Keep the wanted Ritz vectors and half of the others, shared between the ends as the wanted ones are."""
        wanted = self._top + self._bottom
        extra = min((self.basis.capacity - wanted) // 2, self.basis.capacity - 1 - wanted)
        upper = self._top + round(extra * self._top / wanted)
        lower = wanted + extra - upper
        count = len(self.values)
        kept = [*range(lower), *range(count - upper, count)]
        self.basis.compress(self.values[kept], self._rotation[:, kept])
        self.restarts += 1

    def ritz_vectors(self) -> list[Vector]:
        """Return the wanted Ritz vectors, in the order of `wanted`."""
        return [self.basis.combine(self._rotation[:, index]) for index in self.wanted]
