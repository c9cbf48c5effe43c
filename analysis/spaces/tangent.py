"""The tangent space: the directions of W that moving (A, B) can reach to first order.

Vectors are those of the full space, projected per layer by

    P(Z) = P_B Z + Z P_A - P_B Z P_A,

P_B (m, m) and P_A (n, n) the orthogonal projectors onto Col(B) and Row(A). The set of products of rank r is a manifold
and P projects onto its tangent space at B A, so that nothing here depends on how the product is split into factors.
With B = 0, an untrained adapter, Col(B) is empty and the directions b A remain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from analysis.errors import SpaceError
from analysis.spaces.adapted import adapted_layers
from analysis.spaces.full import FullSpace
from analysis.spaces.lora import no_factors
from analysis.vectors import Vector, working_dtype


def column_basis(matrix: Tensor) -> Tensor:
    """Return orthonormal columns (m, k) that span Col(matrix), for a matrix (m, r).

    The rank k counts the singular values above max(m, r) * eps * sigma_max, eps that of the matrix's own type:
    what is smaller cannot be told from rounding.
    """
    left, values, _ = torch.linalg.svd(matrix.detach().double(), full_matrices=False)
    threshold = max(matrix.shape) * torch.finfo(matrix.dtype).eps * values.max()
    basis: Tensor = left[:, values > threshold].to(working_dtype(matrix.dtype))
    return basis


class TangentSpace(FullSpace):
    """First-order reachable directions of the merged matrices of a PEFT model.

    Args:
        model: A PEFT LoRA model.
        adapter: Whose product is moved, as in `adapted_layers`; it need not be active.

    Raises:
        SpaceError: The model has no adapted layer.
    """

    name = "tangent"

    def __init__(self, model: nn.Module, *, adapter: str | None = None) -> None:
        self.factors = {layer.name: layer for layer in adapted_layers(model, adapter=adapter)}
        if not self.factors:
            raise SpaceError(no_factors(model, self.name))
        super().__init__(model)
        if missing := [name for name in self.names if name not in self.factors]:
            raise SpaceError(f"{missing[0]} is adapted, but does not carry the adapter whose tangent space is wanted")
        self._frames: list[tuple[Tensor, Tensor]] = []

    @property
    def dimension(self) -> int:
        """Number of independent directions, sum over layers of m k_A + k_B n - k_B k_A with ranks k."""
        with self:
            return sum(
                len(columns) * rows.shape[1] + columns.shape[1] * len(rows) - columns.shape[1] * rows.shape[1]
                for columns, rows in self._frames
            )

    @contextmanager
    def _frames_of_now(self) -> Iterator[None]:
        layers = [self.factors[name] for name in self.names]
        self._frames = [(column_basis(layer.B), column_basis(layer.A.mT)) for layer in layers]
        try:
            yield
        finally:
            self._frames = []

    @contextmanager
    def _entered(self) -> Iterator[None]:
        with super()._gauge(), self._frames_of_now():
            yield

    def _gauge(self) -> AbstractContextManager[None]:
        return self._entered()

    def project(self, vector: Sequence[Tensor]) -> Vector:
        """Return P_B Z + Z P_A - P_B Z P_A, block by block."""
        with self:
            projected = []
            for block, (columns, rows) in zip(vector, self._frames, strict=True):
                in_rows = (block @ rows) @ rows.mT
                projected.append(torch.addmm(in_rows, columns, columns.mT @ (block - in_rows)))
            return projected
