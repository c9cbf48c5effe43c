"""Frobenius norms of weight changes s B A, from r x r Gram matrices: no (m, n) matrix is formed.

    ||B A||_F^2 = <B^T B, A A^T>

Layers of equal shapes are taken together, so that a norm over the whole model is a handful of kernels.

Shapes: W (m, n), A (r, n), B (m, r); the weight change of a layer is dW = s B A with PEFT's scaling s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor

from bilora.effective import precise
from bilora.factors import LoraFactors
from bilora.shards import local_all, shards, summed, whole_all

# Rows of one piece of a long sum on a GPU.
_ROWS = 256


def product_norms_squared(products: Sequence[tuple[Tensor, Tensor, float]]) -> Tensor:
    """Return ||s B A||_F^2 of every (A, B, s), as one tensor of shape (len(products),), fp32 or better.

    Products of equal shapes are stacked, so that the number of kernels depends on the number of distinct shapes and
    not on the depth of the model.
    """
    norms: dict[int, Tensor] = {}
    for indices in groups_of((A.shape, B.shape, A.device, scaling) for A, B, scaling in products):
        A = precise(torch.stack([products[i][0].detach() for i in indices]))
        B = precise(torch.stack([products[i][1].detach() for i in indices]))
        squares = gram_norms_squared(A, B).mul_(products[indices[0]][2] ** 2)
        norms.update(zip(indices, squares.to(products[0][0].device).unbind(), strict=True))
    return torch.stack([norms[index] for index in range(len(products))])


def gram_norms_squared(A: Tensor, B: Tensor) -> Tensor:
    """Return ||B A||_F^2, shape (layers,), of stacked products: A (layers, r, n) and B (layers, m, r), in fp32."""
    # Rounding can push the Gram form of a zero product slightly below zero.
    return _gram(B).mul_(_gram(A.mT)).sum(dim=(1, 2)).clamp_min_(0.0)


def _gram(tall: Tensor) -> Tensor:
    """Return X^T X, (layers, r, r), of stacked tall matrices X (layers, m, r).

    A GPU gives each product of a batch to few of its processors, which one sum over thousands of rows keeps waiting:
    such sums are taken in pieces.
    """
    layers, rows, rank = tall.shape
    if not tall.is_cuda or rows % _ROWS:
        return tall.mT @ tall
    pieces = tall.reshape(layers * (rows // _ROWS), _ROWS, rank)
    return (pieces.mT @ pieces).view(layers, -1, rank, rank).sum(1)


def groups_of(keys: Iterable[Hashable]) -> list[list[int]]:
    """Return the positions of equal keys together, in the order in which each key first comes."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return list(groups.values())


def factor_norms_squared(factors: Sequence[LoraFactors]) -> Tensor:
    """Return ||s B A||_F^2 of every layer, fp32 or better, shape (layers,).

    Of sharded factors A is gathered, since every entry of A A^T needs whole rows; B stays, and the rows of the
    products are summed over ranks.
    """
    A = whole_all([f.A for f in factors])
    B = local_all([f.B for f in factors])
    norms = product_norms_squared([(a, b, f.scaling) for a, b, f in zip(A, B, factors, strict=True)])
    return summed(norms, shards([f.B for f in factors]))


def displacement_norm(factors: Sequence[LoraFactors], before: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return sqrt(sum_l ||s (B A - B0 A0)||_F^2), the weight-space norm of a move of the factors.

    Args:
        factors: The factors where they are now.
        before: (A0, B0) of every layer, in the same order; of sharded factors the rows that are here.

    The difference is written as the rank-2r product s [B, B - B0] [A - A0; A0], since the Gram form of
    B A - B0 A0 itself would cancel: a move of 1e-4 relative to the weights loses all digits in fp32.
    """
    A = [f.A for f in factors]
    now, earlier = whole_all(A), whole_all(A, [A0 for A0, _ in before])
    products = [
        (torch.cat([a - a0, a0]), torch.cat([b, b - b0], dim=1), f.scaling)
        for f, a, a0, b, (_, b0) in zip(factors, now, earlier, local_all([f.B for f in factors]), before, strict=True)
    ]
    return summed(product_norms_squared(products).sum(), shards(A)).sqrt()
