"""Row norms of merged weights W' = W + s B A, without merging.

Noise that is relative to the rows of the merged weight needs their norms at every step. Those of the frozen W are
taken once; the adapter's share follows from products with one small side:

    ||W'_i||^2 = ||W_i||^2 + 2 s B_i (W A^T)_i^T + s^2 B_i (A A^T) B_i^T.

Shapes: W (m, n), A (r, n), B (m, r); a row belongs to an output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilora.effective import precise
from bilora.factor_norms import groups_of
from bilora.factors import LoraFactors
from bilora.shards import local_all, whole_all


def row_norms_squared(matrix: Tensor) -> Tensor:
    """Return ||W_i||^2 of every row, fp32 or better, shape (m,)."""
    precise = torch.promote_types(matrix.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(matrix, dim=1, dtype=precise)
    return norms.square_()


@torch.no_grad()
def merged_row_norms_squared(
    matrices: Sequence[Tensor], squares: Sequence[Tensor], factors: Sequence[LoraFactors]
) -> list[Tensor]:
    """Return ||(W + s B A)_i||^2 of every row of every layer, fp32 or better, shapes (m,).

    Args:
        matrices: The frozen W (m, n) of each layer; of a sharded one the rows that are here. W A^T is taken in its
            dtype.
        squares: `row_norms_squared` of each.
        factors: The adapter's factors in each.

    Layers of equal shapes are stacked, so that beyond one product a layer the number of kernels does not depend on
    the depth of the model.
    """
    found: dict[int, Tensor] = {}
    whole_A, own_B = whole_all([f.A for f in factors]), local_all([f.B for f in factors])
    for indices in groups_of((W.shape, f.A.shape, f.scaling, W.device) for W, f in zip(matrices, factors, strict=True)):
        scaling = factors[indices[0]].scaling
        cross = precise(torch.stack([matrices[i] @ whole_A[i].T.to(matrices[i].dtype) for i in indices]))  # (L, m, r)
        A = precise(torch.stack([whole_A[i] for i in indices]))  # (L, r, n)
        B = precise(torch.stack([own_B[i] for i in indices]))  # (L, m, r)
        change = (B * (cross.mul_(2 * scaling) + scaling**2 * (B @ (A @ A.mT)))).sum(dim=2)
        # Rounding can push the square of a row that is zero slightly below it.
        rows = (torch.stack([squares[i] for i in indices]) + change).clamp_min_(0.0)
        found.update(zip(indices, rows.unbind(), strict=True))
    return [found[index] for index in range(len(matrices))]
