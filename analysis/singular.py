"""Leading singular triplets of one matrix: exactly when it is small, by randomised iteration when it is large.

What a rank-r adversary can reach in a layer is decided by the leading singular values of that layer's gradient.
Randomised iteration (Halko, Martinsson and Tropp, 2011) is repeated until its own residual is below a tolerance, and
the residual is handed back. Its start is drawn from a generator of its own: a library routine would draw from the
global one and so change the numbers of whatever runs next.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import SettingsError

EXACT_SIZE = 1024
_OVERSAMPLING = 8


@dataclass(frozen=True, eq=False)
class SingularTriplets:
    """Leading singular values and vectors of a matrix G (m, n).

    Attributes:
        U: Left vectors (m, k), orthonormal columns.
        S: Values (k,), largest first; never above the true ones when not exact.
        V: Right vectors (n, k).
        residual: max_i ||G v_i - S_i u_i|| / S_1 (G^T u_i = S_i v_i holds by construction); 0 if exact.
        tail: The other singular values if exact, None otherwise.
    """

    U: Tensor
    S: Tensor
    V: Tensor
    residual: float
    tail: Tensor | None

    @property
    def exact(self) -> bool:
        """Whether a full decomposition was taken."""
        return self.tail is not None


def as_matrix(block: Tensor) -> Tensor:
    """Return a block as a matrix of its rows: (m, n) as it is, a convolution (m, -1), a vector as one row."""
    return block.reshape(len(block) if block.dim() > 1 else 1, -1)


def singular_triplets(
    matrix: Tensor,
    rank: int,
    *,
    exact_size: int = EXACT_SIZE,
    tolerance: float = 1e-3,
    max_iterations: int = 30,
    seed: int = 0,
) -> SingularTriplets:
    """Return the min(rank, m, n) leading singular triplets of a matrix (m, n).

    Args:
        matrix: Any real matrix.
        rank: How many, at least 1.
        exact_size: Largest min(m, n) that is decomposed fully.
        tolerance: Residual at which the iteration ends.
        max_iterations: Most iterations; what was reached by then is in `residual`.
        seed: Seed of the start.

    Raises:
        SettingsError: The rank is not positive.
    """
    if rank < 1:
        raise SettingsError(f"rank is {rank}; expected at least 1")
    matrix = matrix.detach().to(vectors.working_dtype(matrix.dtype))
    count = min(rank, *matrix.shape)
    if min(matrix.shape) <= max(exact_size, count + _OVERSAMPLING):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        return SingularTriplets(left[:, :count], values[:count], right[:count].mT, 0.0, values[count:])
    draw = torch.randn(
        (matrix.shape[1], count + _OVERSAMPLING),
        generator=vectors.block_generator(seed, f"{tuple(matrix.shape)}", stream="singular"),
    )
    image = matrix @ draw.to(matrix.device, matrix.dtype)
    for _ in range(max_iterations):
        basis = torch.linalg.qr(image).Q
        rotation, values, right = torch.linalg.svd(basis.mT @ matrix, full_matrices=False)
        left = basis @ rotation
        image = matrix @ right.mT
        lacking = torch.linalg.vector_norm((image - left * values)[:, :count], dim=0).max()
        residual = float(lacking / values[0]) if values[0] > 0 else 0.0
        if residual <= tolerance:
            break
    return SingularTriplets(left[:, :count], values[:count], right[:count].mT, residual, None)
