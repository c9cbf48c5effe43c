"""Random numbers that belong to a run, and to nobody else.

A method that drew from torch's global generator would change data order and dropout of the run, and could not be
compared with LoRA on the same data; one that seeded itself from the clock (as published codes do) could not be
repeated. Here every draw has a key of whole numbers (run seed, optimizer step, layer, ...) and a generator made
from it: the same key gives the same numbers again, in whatever order draws are made, and a generator never has to be
saved. Numbers differ between CPU and CUDA, as all of torch's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from math import prod

import torch
from torch import Tensor

from bilora.shards import shard_of

# Numbers of one piece of a large draw on the CPU.
_PIECE = 2**15


def seed_of(*key: int) -> int:
    """Return a number in [0, 2^64) that looks random and is a function of `key`."""
    # Sums of the key's parts would give step 1 of layer 0 the noise of step 0 of layer 1.
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def keyed_generator(device: torch.device | str, *key: int) -> torch.Generator:
    """Return a new generator on `device` whose stream is a function of `key` alone."""
    return torch.Generator(device).manual_seed(seed_of(*key))


def normals(shape: Sequence[int], *key: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return independent N(0, 1) numbers of a shape.

    On the CPU, where a generator is serial and slow (4.5 ns a number), a large draw is made of pieces with a stream
    each, by as many threads as torch uses; the numbers do not depend on how many those are.
    """
    count = prod(shape)
    if device.type != "cpu" or count < 2 * _PIECE:
        return torch.randn(*shape, device=device, dtype=dtype, generator=keyed_generator(device, *key))
    flat = torch.empty(count, dtype=dtype)

    def fill(start: int) -> None:
        flat[start : start + _PIECE].normal_(generator=keyed_generator("cpu", *key, start))

    starts, threads = range(0, count, _PIECE), torch.get_num_threads()
    if threads == 1:
        for start in starts:
            fill(start)
    else:
        list(_pool(threads).map(fill, starts))
    return flat.view(*shape)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=threads, thread_name_prefix="normals")


def standard_normals(like: Sequence[Tensor], *key: int) -> list[Tensor]:
    """Return independent N(0, 1) tensors with the shapes, dtypes and devices of `like`.

    All come from one call, so that the cost does not grow with their number, on the device of the first, so that they
    do not depend on how many devices the others are spread over. Of a sharded tensor every rank draws all rows and
    returns its own, so that the numbers do not depend on how many ranks there are.
    """
    if not like:
        return []
    sizes = [tensor.numel() for tensor in like]
    flat = normals([sum(sizes)], *key, 0, device=like[0].device)
    return [
        shard_of(part.view(tensor.shape), tensor).to(tensor.device, tensor.dtype)
        for part, tensor in zip(torch.split(flat, sizes), like, strict=True)
    ]
