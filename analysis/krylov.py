"""The basis of a Krylov space: a fixed number of orthonormal vectors, and the matrix of the operator in it.

Kept apart from the Lanczos iteration because this is where its memory goes: rows of one matrix per block, allocated
once, `capacity` + 1 vectors however many products are taken. New vectors are orthogonalised against all others
twice (Kahan and Parlett: twice is enough); with less, copies of converged eigenvalues appear.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis import vectors
from analysis.vectors import Vector

Floats = NDArray[np.float64]

_CHUNK = 2**18


class KrylovBasis:
    """Orthonormal vectors q_0, q_1, ... and T = Q^T M Q, filled column by column.

    Args:
        like: A vector that gives shapes, types and devices.
        capacity: Largest number of columns of T; one more vector, the residual's, is stored.

    Attributes:
        size: Number of stored vectors.
        projected: T (capacity, capacity), symmetric, valid in its leading part.
    """

    def __init__(self, like: Sequence[Tensor], capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.projected: Floats = np.zeros((capacity, capacity))
        self._shapes = [block.shape for block in like]
        self._rows = [
            torch.empty((capacity + 1, block.numel()), dtype=block.dtype, device=block.device) for block in like
        ]

    def append(self, vector: Sequence[Tensor], length: float) -> None:
        """Store vector / length as the next basis vector."""
        for rows, block in zip(self._rows, vector, strict=True):
            torch.div(block.reshape(-1), length, out=rows[self.size])
        self.size += 1

    def vector(self, index: int) -> Vector:
        """Return basis vector `index` as views into the storage."""
        return [rows[index].view(shape) for rows, shape in zip(self._rows, self._shapes, strict=True)]

    def orthogonalise(self, vector: Sequence[Tensor]) -> tuple[Vector, Floats, float]:
        """Return the part of a vector orthogonal to the basis, its coefficients in the basis, and that part's norm."""
        remainder = [block.reshape(-1).clone() for block in vector]
        coefficients = np.zeros(self.size)
        for _ in range(2):
            partial = [rows[: self.size] @ block for rows, block in zip(self._rows, remainder, strict=True)]
            found = torch.stack([p.to(partial[0].device, torch.float64) for p in partial]).sum(dim=0)
            coefficients += found.cpu().numpy()
            for rows, block in zip(self._rows, remainder, strict=True):
                block.addmv_(rows[: self.size].mT, found.to(block.device, block.dtype), alpha=-1.0)
        shaped = [block.view(shape) for block, shape in zip(remainder, self._shapes, strict=True)]
        return shaped, coefficients, vectors.norm(shaped)

    def set_column(self, index: int, coefficients: Floats) -> None:
        """Set column and row `index` of T from the coefficients of M q_index in q_0 ... q_index."""
        self.projected[: index + 1, index] = coefficients
        self.projected[index, : index + 1] = coefficients

    def combine(self, weights: Floats) -> Vector:
        """Return sum_j weights_j q_j over the first len(weights) vectors."""
        return [
            (torch.as_tensor(weights, dtype=rows.dtype, device=rows.device) @ rows[: len(weights)]).view(shape)
            for rows, shape in zip(self._rows, self._shapes, strict=True)
        ]

    def compress(self, values: Floats, rotation: Floats) -> None:
        """Replace the first len(rotation) vectors by their combinations, the columns of `rotation` (size, kept).

        T becomes diag(values). The work is done in place on strips of the storage, so no second basis is needed.
        """
        kept = rotation.shape[1]
        for rows in self._rows:
            turn = torch.as_tensor(rotation.T, dtype=rows.dtype, device=rows.device)
            for start in range(0, rows.shape[1], _CHUNK):
                strip = rows[:, start : start + _CHUNK]
                strip[:kept] = turn @ strip[: len(rotation)]
        self.size = kept
        self.projected[:] = 0.0
        self.projected[range(kept), range(kept)] = values
