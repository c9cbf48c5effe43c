"""An orthonormal basis Q of what a symmetric operator does to random vectors, and the trace estimates that rest on it.

With y_j = M w_j = Q R and H = Q^T M Q, the trace on the span of Q is known exactly and only the rest is sampled
(Hutch++; Meyer, Musco, Musco and Woodruff, 2021). XTrace (Epperly, Tropp and Webber, 2024) samples the rest with the
vectors that built Q: leaving out w_i leaves a basis Q_i that is independent of it, and all k estimates follow from
k x k matrices. Q is the only thing that is kept; the random vectors are drawn again when they are needed.
"""

from __future__ import annotations

import numpy as np
import torch

from analysis import vectors
from analysis.basis_storage import StorageName
from analysis.krylov import Floats, KrylovBasis
from analysis.operators import CurvatureOperator
from analysis.vectors import Vector


class TraceSketch:
    """The growing sketch.

    Args:
        operator: Symmetric; its random directions are standard normal vectors of its domain.
        capacity: Most columns of Q, each as large as the space.
        seed: Seed of the random vectors.
        storage: Where Q lies, "device" or "host".
        dtype: Type Q is kept in; None for that of the products.

    Attributes:
        products: Products taken, two per column and one per probe.
        captured: Whether Q spans the range of the operator to rounding, so that the trace on it is the trace.
    """

    def __init__(
        self,
        operator: CurvatureOperator,
        capacity: int,
        *,
        seed: int,
        storage: StorageName = "device",
        dtype: torch.dtype | None = None,
    ) -> None:
        self.products = 0
        self.captured = False
        self._operator = operator
        self._seed = seed
        first = self.random(0)
        self._epsilon = max(torch.finfo(vectors.working_dtype(block.dtype)).eps for block in first)
        self._basis = KrylovBasis(first, capacity, storage=storage, dtype=dtype)
        self._triangle: Floats = np.zeros((capacity, capacity))
        self._forms: list[float] = []

    @property
    def size(self) -> int:
        """Number k of columns."""
        return self._basis.size

    @property
    def quadratic_forms(self) -> list[float]:
        """w_j^T M w_j of the test vectors: Hutchinson's samples, from the products that built the sketch."""
        return self._forms[: self.size]

    def random(self, index: int) -> Vector:
        """Return the test vector w_index."""
        return self._operator.random_direction(seed=self._seed, stream=f"trace-{index}")

    def grow(self) -> None:
        """Add one column, at two products."""
        test = self.random(self.size)
        product = self._operator.matvec(test)
        self._forms.append(vectors.dot(test, product))
        scale = vectors.norm(product)
        column, coefficients, length = self._basis.orthogonalise(product)
        self.products += 1
        if length <= 64 * self._epsilon * scale:
            self.captured = True
            return
        k = self.size
        self._triangle[:k, k] = coefficients
        self._triangle[k, k] = length
        self._basis.append(column, length)
        del column, product, test
        self._basis.set_column(k, self._basis.coefficients(self._operator.matvec(self._basis.vector(k))))
        self.products += 1
        self.captured = self.size == self._operator.dimension

    def trace_on_span(self) -> float:
        """Return tr(Q^T M Q)."""
        return float(np.trace(self._basis.projected[: self.size, : self.size]))

    def estimates(self) -> Floats:
        """Return the k leave-one-out estimates of XTrace; their mean is its estimate.

        With v_i = (I - Q_i Q_i^T) w_i, each is tr(Q_i^T M Q_i) + (n - k + 1) v_i^T M v_i / ||v_i||^2.
        """
        k = self.size
        on_span = self._basis.projected[:k, :k]
        triangle = self._triangle[:k, :k]
        overlap, squares = np.empty((k, k)), np.empty(k)
        for index in range(k):
            test = self.random(index)
            squares[index] = vectors.dot(test, test)
            overlap[:, index] = self._basis.coefficients(test)
        # Column i of R^-T is orthogonal to all columns of R but the i-th: Q s_i is what w_i alone brought into Q.
        left_out = np.linalg.inv(triangle).T
        left_out /= np.linalg.norm(left_out, axis=0)
        inside = overlap - left_out * (left_out * overlap).sum(axis=0)
        outside = (
            np.array(self._forms[:k])
            - 2.0 * (inside * triangle).sum(axis=0)
            + (inside * (on_span @ inside)).sum(axis=0)
        )
        lengths = squares - (inside**2).sum(axis=0)
        rest: Floats = (self._operator.dimension - k + 1) * outside / lengths
        found: Floats = rest + np.trace(on_span) - (left_out * (on_span @ left_out)).sum(axis=0)
        return found

    def probe(self, index: int) -> float:
        """Return the estimate tr(Q^T M Q) + (n - k) v^T M v / ||v||^2, v a new random vector orthogonal to Q."""
        test = self._operator.random_direction(seed=self._seed, stream=f"trace-probe-{index}")
        outside, _, length = self._basis.orthogonalise(test)
        product = self._operator.matvec(outside)
        self.products += 1
        rest = (self._operator.dimension - self.size) * vectors.dot(outside, product) / length**2
        return self.trace_on_span() + rest
