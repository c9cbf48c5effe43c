"""Low-rank matrices s B A as their factors, with inner products that never form the product.

Adapters, adversaries and the changes between checkpoints are all of this form; for rank 8 the factors of a layer of an
8-billion-parameter model take a thousandth of the product's memory. Everything follows from r x r Gram matrices, taken
in float64:

    <s B A, s' B' A'>_F = s s' sum((B^T B') * (A A'^T))
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

Factors = tuple[Tensor, Tensor, float]
"""(A (r, n), B (m, r), s), which stand for s B A (m, n)."""


def inner(x: Factors, y: Factors) -> float:
    """Return <s_x B_x A_x, s_y B_y A_y>_F."""
    (a, b, s), (a2, b2, s2) = x, y
    columns = b.detach().double().mT @ b2.detach().double()
    rows = a.detach().double() @ a2.detach().double().mT
    return s * s2 * float((columns * rows).sum())


def inner_with_matrix(x: Factors, matrix: Tensor) -> float:
    """Return <s B A, G>_F for a dense G (m, n)."""
    a, b, s = x
    return s * float((b.detach().double() * (matrix.detach().double() @ a.detach().double().mT)).sum())


def norm(layers: Sequence[Factors]) -> float:
    """Return sqrt(sum_l ||s_l B_l A_l||_F^2)."""
    return math.sqrt(max(sum(inner(x, x) for x in layers), 0.0))


def dense(x: Factors) -> Tensor:
    """Return s B A (m, n)."""
    a, b, s = x
    return s * (b.detach() @ a.detach())
