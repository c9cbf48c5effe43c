"""The basis of a Krylov space: a fixed number of orthonormal vectors, and the matrix of the operator in it.

Kept apart from the Lanczos iteration because this is where its memory goes: `capacity` vectors, however many products
are taken. New vectors are orthogonalised against all others in place; with less, copies of converged eigenvalues
appear. Gram-Schmidt is repeated only when it must be (Daniel, Gragg, Kaufman and Stewart, 1976), which is not inferred
from the loss of length but measured, in the sweep over the basis that subtracts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis import ranks
from analysis.basis_storage import BasisStorage, StorageName
from analysis.sharding import layout, like, local, shards, spread
from analysis.vectors import Vector, working_dtype

Floats = NDArray[np.float64]

# The overlap with the basis that may be left, relative to the vector: in units of the working type's rounding, and for
# narrow rows, which are not orthogonal themselves, far below the square root of theirs (Simon, 1984).
_NEGLIGIBLE = 32.0
_NEGLIGIBLE_NARROW = 5e-4


class KrylovBasis:
    """Orthonormal vectors q_0, q_1, ... and T = Q^T M Q, filled column by column.

    Args:
        pattern: A vector that gives shapes, types, devices, and the ranks over which it is sharded.
        capacity: Largest number of vectors, and of columns of T.
        storage: Where the vectors lie, "device" or "host".
        dtype: Type they are stored in; None for the working type of `pattern`. Sums are taken in float32 or better
            inside a strip, and in float64 over the strips, whatever it is.

    Attributes:
        size: Number of stored vectors.
        projected: T (capacity, capacity), symmetric, valid in its leading part.
        sweeps: How often the basis was read to orthogonalise.
    """

    def __init__(
        self,
        pattern: Sequence[Tensor],
        capacity: int,
        *,
        storage: StorageName = "device",
        dtype: torch.dtype | None = None,
    ) -> None:
        self.capacity = capacity
        self.size = 0
        self.sweeps = 0
        self.projected: Floats = np.zeros((capacity, capacity))
        # Not the vector itself, which would stay in memory.
        self._layouts = [layout(block) for block in pattern]
        self._group = shards(pattern)
        self._rows = BasisStorage([local(block) for block in pattern], capacity, storage=storage, dtype=dtype)
        epsilon = max(torch.finfo(working_dtype(block.dtype)).eps for block in pattern)
        self._negligible = _NEGLIGIBLE * epsilon if dtype is None else _NEGLIGIBLE_NARROW

    def append(self, vector: Sequence[Tensor], length: float) -> None:
        """Store vector / length as the next basis vector."""
        self._rows.write(self.size, [local(block) for block in vector], length)
        self.size += 1

    def vector(self, index: int) -> Vector:
        """Return basis vector `index` in the stored type: views into the storage, or copies if it is the host's."""
        return self._spread(self._rows.read(index))

    def coefficients(self, vector: Sequence[Tensor]) -> Floats:
        """Return <q_j, vector> for all stored j."""
        return self._sweep([local(block).reshape(-1) for block in vector], None)[0]

    def orthogonalise(
        self, vector: Sequence[Tensor], *, expected: Floats | None = None
    ) -> tuple[Vector, Floats, float]:
        """Take the basis out of a vector, in place.

        Args:
            vector: Overwritten, unless a block is not contiguous; not part of the basis.
            expected: Coefficients as far as they are known. They are taken out in the sweep that measures what they
                leave, so that one sweep is enough if they are right.

        Returns:
            The part orthogonal to the basis, the vector's coefficients in the basis, and that part's norm.
        """
        blocks = [local(block).contiguous() for block in vector]
        flat = [block.view(-1) for block in blocks]
        overlap, length = self._sweep(flat, expected)
        coefficients = overlap if expected is None else expected + overlap
        left = np.linalg.norm(overlap)
        while left > self._negligible * length:
            overlap, length = self._sweep(flat, overlap)
            coefficients = coefficients + overlap
            before, left = left, np.linalg.norm(overlap)
            # An overlap that a sweep does not even halve is the rounding of a narrow vector.
            if left > 0.5 * before:
                break
        return [like(given, block) for given, block in zip(vector, blocks, strict=True)], coefficients, length

    def _sweep(self, flat: Sequence[Tensor], subtract: Floats | None) -> tuple[Floats, float]:
        """Subtract sum_j subtract_j q_j in place; return the products with every q_j, and the norm, of what is left.

        Both are done strip by strip, so that the basis is read once.
        """
        self.sweeps += 1
        sums: dict[torch.device, Tensor] = {}
        weights = _OnDevices(subtract)
        for strip in self._rows.strips(self.size):
            part = flat[strip.block][strip.entries]
            wide = part.to(strip.rows.dtype)
            if subtract is not None:
                wide.addmv_(strip.rows.mT, weights.like(wide), alpha=-1.0)
                if wide.dtype != part.dtype:
                    part.copy_(wide)
                    wide = part.to(wide.dtype)
            found = torch.cat([strip.rows @ wide, torch.dot(wide, wide).reshape(1)]).double()
            if found.device in sums:
                sums[found.device] += found
            else:
                sums[found.device] = found
        total: Floats = np.sum([found.cpu().numpy() for found in sums.values()], axis=0)
        if self._group is not None:
            total = np.array(ranks.total(total.tolist(), group=self._group))
        return total[:-1], float(np.sqrt(total[-1]))

    def set_column(self, index: int, coefficients: Floats) -> None:
        """Set column and row `index` of T from the coefficients of M q_index in q_0 ... q_index."""
        self.projected[: index + 1, index] = coefficients
        self.projected[index, : index + 1] = coefficients

    def combine(self, weights: Floats) -> Vector:
        """Return sum_j weights_j q_j over the first len(weights) vectors, in the working type."""
        combined = self._rows.zeros()
        flat = [block.view(-1) for block in combined]
        placed = _OnDevices(weights)
        for strip in self._rows.strips(len(weights)):
            torch.mv(strip.rows.mT, placed.like(strip.rows), out=flat[strip.block][strip.entries])
        return self._spread(combined)

    def _spread(self, rows: Vector) -> Vector:
        return [spread(place, block) for place, block in zip(self._layouts, rows, strict=True)]

    def compress(self, values: Floats, rotation: Floats) -> None:
        """Replace the first len(rotation) vectors by their combinations, the columns of `rotation` (size, kept).

        T becomes diag(values). The work is done in place on strips of the storage, so no second basis is needed.
        """
        kept = rotation.shape[1]
        turn = _OnDevices(rotation.T)
        for strip in self._rows.strips(len(rotation)):
            self._rows.overwrite(strip, turn.like(strip.rows) @ strip.rows)
        self.size = kept
        self.projected[:] = 0.0
        self.projected[range(kept), range(kept)] = values


class _OnDevices:
    """A small array as a tensor, sent to each device once: sending it per strip would stall a GPU as often."""

    def __init__(self, array: Floats | None) -> None:
        self._array = array
        self._tensors: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, tensor: Tensor) -> Tensor:
        """Return the array in the type and on the device of a tensor."""
        key = (tensor.device, tensor.dtype)
        if key not in self._tensors:
            self._tensors[key] = torch.as_tensor(self._array, dtype=tensor.dtype, device=tensor.device)
        return self._tensors[key]
