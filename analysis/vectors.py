"""Vectors of a parameter space as lists of tensors, one block per parameter.

A vector of an 8-billion-parameter model must never exist a second time as one concatenated tensor, so every
operation here walks block by block. Sums inside a block are taken in float32 or better and sums over blocks in
float64. Random vectors come from one generator per block, seeded by the block's name: a draw does not depend on the
other blocks' values or on the global generator, nor, up to ten million numbers, on the device, which is how two models
share directions. Blocks may be `DTensor`s, whose rows are spread over ranks (`analysis.sharding`): sums are then taken
over the ranks too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, distributed

from analysis.sharding import is_sharded, like, local, own_rows, shards

# Below this many entries, threads cost more than they save.
_PARALLEL_DRAW = 2**22
# Five nanoseconds a number: a product of so many weights takes about as long on a GPU.
_DEVICE_DRAW = 10**7

Vector = list[Tensor]
"""One tensor per block, in the order of the space's blocks."""


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type vectors are kept in: `dtype` itself, or float32 for a narrower type."""
    return torch.promote_types(dtype, torch.float32)


def zeros_like(tensors: Sequence[Tensor]) -> Vector:
    """Return a zero vector with the shapes and devices of `tensors`, in their working type."""
    return [like(t, torch.zeros_like(local(t), dtype=working_dtype(t.dtype), requires_grad=False)) for t in tensors]


def dot(x: Sequence[Tensor], y: Sequence[Tensor]) -> float:
    """Return sum_i x_i y_i over all entries of all blocks."""
    if not x:
        return 0.0
    partial = []
    group = shards([*x, *y])
    for a, b in zip(map(local, x), map(local, y), strict=True):
        wide = working_dtype(torch.promote_types(a.dtype, b.dtype))
        partial.append(torch.dot(a.reshape(-1).to(wide), b.reshape(-1).to(wide)))
    # One transfer for all blocks: reading each partial sum by itself would stall a GPU once per layer.
    gathered = torch.stack([p.to(partial[0].device, torch.float64) for p in partial]).sum()
    if group is not None:
        distributed.all_reduce(gathered, group=group)
    return float(gathered)


def norm(x: Sequence[Tensor]) -> float:
    """Return the Euclidean norm over all blocks."""
    return math.sqrt(dot(x, x))


def scale(x: Sequence[Tensor], alpha: float) -> Vector:
    """Return alpha x as a new vector."""
    return [like(a, alpha * local(a)) for a in x]


def axpy(alpha: float, x: Sequence[Tensor], y: Sequence[Tensor]) -> Vector:
    """Return y + alpha x as a new vector."""
    return [like(b, torch.add(local(b), local(a), alpha=alpha)) for a, b in zip(x, y, strict=True)]


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
    ones; of more than ten million of them on a CUDA device, which would take longer than a curvature product, that
    device draws its own.

    Args:
        tensors: Give shape, type and device of each block.
        names: One name per block.
        seed: Any integer.
        stream: What the numbers are for, see `block_generator`.
    """

    def draw(tensor: Tensor, name: str) -> Tensor:
        generator = block_generator(seed, name, stream=stream)
        numbers = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
        return own_rows(tensor, numbers.to(tensor.device, working_dtype(tensor.dtype)))

    count = sum(tensor.numel() for tensor in tensors)
    if count > _DEVICE_DRAW and tensors[0].is_cuda:
        drawn = random_on_device(tensors, names, seed=seed, stream=stream, dtype=torch.float32)
        return [
            like(tensor, local(numbers).to(working_dtype(tensor.dtype)))
            for numbers, tensor in zip(drawn, tensors, strict=True)
        ]
    if count < _PARALLEL_DRAW or is_sharded(tensors):
        return [draw(tensor, name) for tensor, name in zip(tensors, names, strict=True)]
    # A generator is serial, at about 5 ns a number: seven billion of them take half a minute.
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        return list(pool.map(draw, tensors, names))


def random_on_device(
    tensors: Sequence[Tensor], names: Sequence[str], *, seed: int, stream: str, dtype: torch.dtype
) -> Vector:
    """Return independent standard normal entries of a given type, drawn where each tensor lies.

    For vectors too large to be drawn on the CPU: the numbers depend on the kind of device, otherwise on what `random`
    depends on.
    """
    draws = []
    for tensor, name in zip(tensors, names, strict=True):
        device_seed = block_generator(seed, name, stream=stream).initial_seed()
        generator = torch.Generator(device=tensor.device).manual_seed(device_seed)
        draws.append(
            own_rows(tensor, torch.randn(tensor.shape, generator=generator, dtype=dtype, device=tensor.device))
        )
    return draws
