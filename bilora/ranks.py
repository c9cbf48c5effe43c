"""Several processes (ranks) that train one model: who they are, and means and sums over them.

A process group that is up is taken to train one model, each rank on its own examples; without one there is a single
rank, and every function here returns what it is given. What is sharded over ranks is the subject of `bilora.shards`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """Return how many ranks train together; 1 without a process group."""
    return distributed.get_world_size() if _is_up() else 1


def rank() -> int:
    """Return the number of this rank, from 0."""
    return distributed.get_rank() if _is_up() else 0


def _is_up() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def agreed(number: int) -> int:
    """Return rank 0's value of a whole number below 2^63, for example a seed."""
    if world_size() == 1:
        return number
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    held = torch.tensor(number, dtype=torch.int64, device=device)
    distributed.broadcast(held, src=0)
    return int(held)


def sum_over_ranks(value: Tensor) -> Tensor:
    """Return the sum of a tensor over the ranks."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a tensor over the ranks."""
    return sum_over_ranks(value) / world_size()


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over the ranks, in place, with one message for each type."""
    if world_size() == 1:
        return
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        held = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.reshape(-1) for t in held])
        distributed.all_reduce(flat)
        parts = torch.split(flat.div_(world_size()), [t.numel() for t in held])
        torch._foreach_copy_(held, [part.view_as(t) for part, t in zip(parts, held, strict=True)])


def joined_over_ranks(values: Tensor) -> tuple[Tensor, slice]:
    """Return the vectors (n_k,) of all ranks one after the other, and where this rank's own lies in it."""
    if world_size() == 1:
        return values, slice(0, len(values))
    counts = torch.zeros(world_size(), dtype=torch.int64, device=values.device)
    counts[rank()] = len(values)
    sizes: list[int] = sum_over_ranks(counts).tolist()
    start = sum(sizes[: rank()])
    own = slice(start, start + len(values))
    joined = values.new_zeros(sum(sizes))
    joined[own] = values
    return sum_over_ranks(joined), own
