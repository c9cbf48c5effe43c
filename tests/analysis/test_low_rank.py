from __future__ import annotations

import pytest
import torch

from analysis import low_rank


def draw(rank: int, seed: int) -> low_rank.Factors:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, 7, generator=generator, dtype=torch.float64)
    b = torch.randn(5, rank, generator=generator, dtype=torch.float64)
    return a, b, 1.5


def test_inner_products_are_those_of_the_dense_matrices() -> None:
    x, y = draw(2, 0), draw(3, 1)
    dense_x, dense_y = (s * b @ a for a, b, s in (x, y))
    torch.testing.assert_close(low_rank.dense(x), dense_x)
    assert low_rank.inner(x, y) == pytest.approx((dense_x * dense_y).sum().item(), rel=1e-12)
    assert low_rank.inner_with_matrix(x, dense_y) == pytest.approx((dense_x * dense_y).sum().item(), rel=1e-12)
    expected = (dense_x.square().sum() + dense_y.square().sum()).sqrt().item()
    assert low_rank.norm([x, y]) == pytest.approx(expected, rel=1e-12)
    assert low_rank.norm([]) == 0.0
