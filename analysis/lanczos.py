"""The thick-restart Lanczos iteration (Wu and Simon, 2000) on a bounded, fully reorthogonalised basis.

Each step takes one product, orthogonalises it against the basis and diagonalises the small projected matrix T.
A full basis is rotated to its best Ritz vectors at both ends, which together with the residual vector span a Krylov
space again, and the iteration goes on from there. The coupling of the kept vectors to the next one is read
from the orthogonalisation itself instead of being assumed, so rounding does not accumulate in T; how far the two
differ says how noisy the products are. At its peak a run holds the basis and one product; temporaries are strips.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import AnalysisError
from analysis.krylov import Floats, KrylovBasis
from analysis.lanczos_settings import LanczosSettings
from analysis.operators import CurvatureOperator
from analysis.sharding import local
from analysis.vectors import Vector


class ThickRestartLanczos:
    """The state of one run.

    Args:
        operator: Symmetric.
        settings: How many pairs are wanted and what the basis may take; a basis larger than the space is not
            allocated. Products are taken of stored vectors, hence of vectors of the basis's type.

    Attributes:
        basis: The Krylov basis.
        values: All current Ritz values, ascending; some eigenvalue lies within `residuals` of each.
        residuals: ||M x - value x|| of each Ritz pair.
        magnitude: Largest |Ritz value| of the run so far, the estimate of |lambda_max|.
        asymmetry: Largest |<q_i, M q_j> - <q_j, M q_i>| met; the products' own noise, as the Ritz values feel it.
        products: Products taken by this run.
        restarts: How often the basis was full.
    """

    def __init__(self, operator: CurvatureOperator, settings: LanczosSettings) -> None:
        self._operator = operator
        self._dimension = operator.dimension
        self._top = settings.top
        self._bottom = settings.bottom
        self._seed = settings.seed
        start = operator.random_direction(seed=self._seed, stream="lanczos-0")
        self._epsilon = max(torch.finfo(vectors.working_dtype(block.dtype)).eps for block in start)
        self.basis = KrylovBasis(
            start,
            min(settings.basis_size, self._dimension),
            storage=settings.basis_storage,
            dtype=settings.basis_dtype,
        )
        self.basis.append(start, vectors.norm(start))
        self.values: Floats = np.zeros(0)
        self.residuals: Floats = np.zeros(0)
        self.magnitude = 0.0
        self.asymmetry = 0.0
        self.products = 0
        self.restarts = 0
        self._rotation: Floats = np.zeros((0, 0))
        self._couplings: Floats = np.zeros(0)
        self._next: Vector = []
        self._next_norm = 0.0

    @property
    def wanted(self) -> list[int]:
        """Positions in `values` of the wanted pairs: the largest in descending order, then the smallest ascending."""
        count = len(self.values)
        return [count - 1 - i for i in range(self._top)] + list(range(self._bottom))

    @property
    def neighbours(self) -> list[int]:
        """Positions in `values` of the next pair beyond the wanted ones at each end that is wanted."""
        count = len(self.values)
        return [count - 1 - self._top] * bool(self._top) + [self._bottom] * bool(self._bottom)

    @property
    def spans_wanted(self) -> bool:
        """Whether there are enough Ritz pairs for all that are wanted."""
        return len(self.values) >= self._top + self._bottom

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole space, so that its Ritz pairs are exact."""
        return self.basis.size == self._dimension

    def relative_residuals(self, positions: list[int]) -> Floats:
        """Return residual / |lambda_max| of the pairs at some positions; zero for the zero matrix."""
        return self.residuals[positions] / (self.magnitude or 1.0)

    def step(self) -> None:
        """Take one product and update the Ritz pairs.

        Raises:
            AnalysisError: The product is not finite.
        """
        column = self.basis.size - 1
        vector = self.basis.vector(column)
        product = self._product(vector)
        # By symmetry all coefficients are known beforehand but <q, M q>.
        expected = np.append(self._couplings, vectors.dot(vector, product))
        del vector
        self._next, coefficients, self._next_norm = self.basis.orthogonalise(product, expected=expected)
        if not np.isfinite(self._next_norm):
            raise AnalysisError("a curvature product is not finite; check the weights, or use a wider type")
        self.asymmetry = max(self.asymmetry, float(np.abs(coefficients - expected).max()))
        self.basis.set_column(column, coefficients)
        leading = self.basis.projected[: column + 1, : column + 1]
        self.values, self._rotation = np.linalg.eigh(leading)
        self.magnitude = max(self.magnitude, float(np.abs(self.values).max()))
        self.residuals = self._next_norm * np.abs(self._rotation[column])

    def _product(self, vector: Vector) -> Vector:
        """Return M v as tensors that may be written."""
        product = self._operator.matvec(vector)
        self.products += 1
        # An operator may hand back its argument (the identity does), and that is a row of the basis.
        return [new.clone() if _memory(new) == _memory(old) else new for new, old in zip(product, vector, strict=True)]

    def advance(self) -> None:
        """Extend the basis by the residual vector, after a restart if it is full."""
        if self.basis.size == self.basis.capacity:
            self._restart()
        else:
            self._couplings = np.zeros(self.basis.size)
            self._couplings[-1] = self._next_norm
        # Below rounding the residual is noise: the basis is an invariant subspace, and a new start is needed.
        if self._next_norm <= 8 * self._epsilon * self.magnitude:
            self._take_fresh_start()
        self._append_next()

    def start_again(self) -> None:
        """Keep the best Ritz vectors and go on from a new random vector orthogonal to them.

        A start vector meets every eigenspace in one direction only, so a Krylov space holds one copy of a multiple
        eigenvalue; the next copy is found by a start vector of its own.
        """
        self._restart()
        self._take_fresh_start()
        self._append_next()

    def _append_next(self) -> None:
        self.basis.append(self._next, self._next_norm)
        # A vector is as large as the space: it is let go before the next product is taken.
        self._next = []

    def _take_fresh_start(self) -> None:
        fresh = self._operator.random_direction(seed=self._seed, stream=f"lanczos-{self.products}")
        self._next, _, self._next_norm = self.basis.orthogonalise(fresh)
        self._couplings = np.zeros(self.basis.size)

    def _restart(self) -> None:
        """Keep the wanted Ritz vectors and half of the others, shared between the ends as the wanted ones are."""
        count, wanted = len(self.values), self._top + self._bottom
        extra = min((self.basis.capacity - wanted) // 2, self.basis.capacity - 1 - wanted, count - wanted)
        upper = self._top + round(extra * self._top / wanted)
        lower = wanted + extra - upper
        kept = [*range(lower), *range(count - upper, count)]
        self._couplings = self._next_norm * self._rotation[-1, kept]
        self.basis.compress(self.values[kept], self._rotation[:, kept])
        self.restarts += 1

    def ritz_vectors(self) -> list[Vector]:
        """Return the wanted Ritz vectors, in the order of `wanted`."""
        return [self.basis.combine(self._rotation[:, index]) for index in self.wanted]


def _memory(block: Tensor) -> int:
    return local(block).untyped_storage().data_ptr()
