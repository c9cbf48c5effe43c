"""Vectors of a parameter space as lists of tensors, one block per parameter.

A vector of an 8-billion-parameter model must never exist a second time as one concatenated tensor, so every
operation here walks block by block. Sums inside a block are taken in float32 or better and sums over blocks in
float64. Random vectors come from one generator per block, seeded by the block's name: a draw does not depend on the
device, on the other blocks or on the global generator, which is how two models share directions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Vector = list[Tensor]
"""One tensor per block, in the order of the space's blocks."""


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type vectors are kept in: `dtype` itself, or float32 for a narrower type."""
    return torch.promote_types(dtype, torch.float32)


def zeros_like(tensors: Sequence[Tensor]) -> Vector:
    """Return a zero vector with the shapes and devices of `tensors`, in their working type."""
    return [torch.zeros(t.shape, dtype=working_dtype(t.dtype), device=t.device) for t in tensors]


def dot(x: Sequence[Tensor], y: Sequence[Tensor]) -> float:
    """Return sum_i x_i y_i over all entries of all blocks."""
    if not x:
        return 0.0
    partial = [
        torch.dot(a.reshape(-1).to(working_dtype(a.dtype)), b.reshape(-1).to(working_dtype(b.dtype)))
        for a, b in zip(x, y, strict=True)
    ]
    # One transfer for all blocks: reading each partial sum by itself would stall a GPU once per layer.
    gathered = torch.stack([p.to(partial[0].device, torch.float64) for p in partial])
    return float(gathered.sum())


def norm(x: Sequence[Tensor]) -> float:
    """Return the Euclidean norm over all blocks."""
    return math.sqrt(dot(x, x))


def scale(x: Sequence[Tensor], alpha: float) -> Vector:
    """Return alpha x as a new vector."""
    return [alpha * a for a in x]


def axpy(alpha: float, x: Sequence[Tensor], y: Sequence[Tensor]) -> Vector:
    """Return y + alpha x as a new vector."""
    return [torch.add(b, a, alpha=alpha) for a, b in zip(x, y, strict=True)]


def block_generator(seed: int, name: str, *, stream: str) -> torch.Generator:
    """Return a CPU generator that depends on the seed, the block's name and the purpose of the draw alone.

    Args:
        seed: Any integer.
        name: The block's name.
        stream: What the numbers are for; two purposes with one seed get unrelated numbers.
    """
    digest = hashlib.blake2b(f"{seed}/{stream}/{name}".encode(), digest_size=8).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest, "big") >> 1)


def random(tensors: Sequence[Tensor], names: Sequence[str], *, seed: int, stream: str) -> Vector:
    """Return independent standard normal entries with the shapes of `tensors`.

    The numbers are drawn in float32 on the CPU and then moved, so that every device and every type sees the same
    ones.

    Args:
        tensors: Give shape, type and device of each block.
        names: One name per block.
        seed: Any integer.
        stream: What the numbers are for, see `block_generator`.
    """
    draws = []
    for tensor, name in zip(tensors, names, strict=True):
        generator = block_generator(seed, name, stream=stream)
        draw = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
        draws.append(draw.to(tensor.device, working_dtype(tensor.dtype)))
    return draws
