from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bilora.factors import LoraFactors
from bilora.merged_rows import merged_row_norms_squared, row_norms_squared


def factors(m: int, n: int, r: int, scaling: float, *, seed: int) -> LoraFactors:
    generator = torch.Generator().manual_seed(seed)
    A = nn.Parameter(torch.randn(r, n, generator=generator))
    B = nn.Parameter(torch.randn(m, r, generator=generator))
    return LoraFactors(f"layer{seed}", A, B, scaling)


def merged(W: Tensor, f: LoraFactors) -> Tensor:
    return (W.double() + f.scaling * f.B.detach().double() @ f.A.detach().double()).square().sum(dim=1)


def test_equals_the_norms_of_the_merged_matrices() -> None:
    """Layers of three shapes and scalings, so that stacking by shape must keep their order."""
    shapes = [(7, 5, 2, 2.0), (6, 9, 3, 0.5), (7, 5, 2, 2.0), (7, 5, 2, 1.0)]
    found = [factors(*shape, seed=i) for i, shape in enumerate(shapes)]
    matrices = [torch.randn(f.B.shape[0], f.A.shape[1], generator=torch.Generator().manual_seed(9)) for f in found]
    squares = [row_norms_squared(W) for W in matrices]
    for rows, W, f in zip(merged_row_norms_squared(matrices, squares, found), matrices, found, strict=True):
        torch.testing.assert_close(rows.double(), merged(W, f), rtol=1e-5, atol=0)


def test_a_row_that_cancels_is_zero_and_not_below() -> None:
    f = factors(8, 6, 2, 2.0, seed=1)
    W = (-f.scaling * f.B @ f.A).detach()
    (rows,) = merged_row_norms_squared([W], [row_norms_squared(W)], [f])
    assert rows.min() >= 0
    assert rows.max() < 1e-5 * W.square().sum()


def test_in_bf16_to_its_precision() -> None:
    f = factors(32, 48, 4, 2.0, seed=2)
    W = torch.randn(32, 48, generator=torch.Generator().manual_seed(3)).bfloat16()
    (rows,) = merged_row_norms_squared([W], [row_norms_squared(W)], [f])
    assert rows.dtype == torch.float32
    assert ((rows - merged(W, f)).abs() / merged(W, f)).max().item() == pytest.approx(0, abs=0.02)
