"""Several processes (ranks) that measure one model: who they are, and sums over them.

A process group that is up is taken to measure one model together; every rank then calls the same functions in the same
order and gets the same numbers. Without one, each function returns what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """Return how many ranks measure together; 1 without a process group."""
    return distributed.get_world_size() if _is_up() else 1


def rank() -> int:
    """Return the number of this rank, from 0."""
    return distributed.get_rank() if _is_up() else 0


def _is_up() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def total(numbers: Sequence[float], *, group: Any = None) -> list[float]:
    """Return the sums of some numbers over the ranks, taken in float64."""
    if world_size() == 1:
        return list(numbers)
    device = "cuda" if distributed.get_backend(group) == "nccl" else "cpu"
    held = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.all_reduce(held, group=group)
    found: list[float] = held.tolist()
    return found


def add_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their sums over the ranks, in place."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)
