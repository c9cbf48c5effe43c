"""Weights whose rows are spread over ranks, as FSDP2 (`torch.distributed.fsdp.fully_shard`) spreads them.

A rank then holds some rows of every weight, gradient and moment, each as a `DTensor`. Methods work on the rows that
are here, as plain tensors: what is done entry by entry needs nothing else, norms and inner products are summed over
the ranks, and what needs a whole factor gathers it. Rows are dealt as `torch.chunk` deals them. For a tensor that is
not sharded every function here does the obvious thing, so that methods need not know which it is.

Refuses weights that are sharded in another way (tensor parallelism, hybrid sharding), and some sharded beside others
that are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor, Shard


class ShardingError(ValueError):
    """Weights are sharded as a method cannot use them."""


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor's rows are spread over ranks."""
    return isinstance(tensor, DTensor)


def shards(tensors: Sequence[Tensor]) -> Any:
    """Return the process group over which the rows of tensors are spread; None if every rank holds all rows.

    Raises:
        ShardingError: If they are spread in a way that methods do not know.
    """
    spread = [t for t in tensors if isinstance(t, DTensor)]
    if not spread:
        return None
    mesh = spread[0].device_mesh
    known = all(t.device_mesh == mesh and t.placements == (Shard(0),) for t in spread)
    if mesh.ndim != 1 or not known or len(spread) < len(tensors):
        raise ShardingError(
            "the trained weights are sharded in a way that methods do not know; expected FSDP2's: fully_shard on the "
            "whole model, over one dimension of ranks, along the rows of every weight"
        )
    return mesh.get_group()


def local(tensor: Tensor) -> Tensor:
    """Return the rows that are here, detached, in the same memory, as a plain tensor."""
    if isinstance(tensor, DTensor):
        with torch.no_grad():
            rows: Tensor = tensor.to_local()
            return rows.detach()
    return tensor.detach()


def local_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return `local` of every tensor."""
    return [local(t) for t in tensors]


def local_gradient(parameter: Tensor) -> Tensor:
    """Return the rows of a parameter's gradient that are here; zeros where it took no part in the loss."""
    return torch.zeros_like(local(parameter)) if parameter.grad is None else local(parameter.grad)


def owned(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows that are here as a tensor of the kind of `like`, for example to be its gradient."""
    if not isinstance(like, DTensor):
        return rows
    made: Tensor = DTensor.from_local(rows, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    return made


def own_rows(count: int, group: Any) -> slice:
    """Return which of `count` rows are here."""
    return _rows(count, distributed.get_world_size(group), distributed.get_rank(group))


def _rows(count: int, ranks: int, index: int) -> slice:
    size = -(-count // ranks)
    return slice(min(index * size, count), min((index + 1) * size, count))


def shard_of(whole_tensor: Tensor, like: Tensor) -> Tensor:
    """Return the rows of a whole tensor that are here, as `like` is sharded; all rows if it is not."""
    return whole_tensor[own_rows(len(like), shards([like]))] if isinstance(like, DTensor) else whole_tensor


@torch.no_grad()
def put(parameter: Tensor, value: Tensor) -> None:
    """Write a whole (q, p) value into the first q rows and p columns of a parameter, as far as these are here."""
    rows, chosen = local(parameter), shard_of(value, parameter)
    if chosen.dim() > 1:
        rows = rows[: len(chosen), : chosen.shape[1]]
    rows.copy_(chosen)


def summed(value: Tensor, group: Any) -> Tensor:
    """Return the sum of a tensor over a group of ranks; the tensor itself for no group."""
    if group is None:
        return value
    total = value.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total, group=group)
    return total


@torch.no_grad()
def gathered(rows: Sequence[Tensor], counts: Sequence[int], group: Any) -> list[Tensor]:
    """Return whole tensors from the rows that each rank holds of them, with one message for each type.

    Args:
        rows: The rows that are here.
        counts: How many rows each whole tensor has.
        group: As `shards` gives it; None returns `rows`.
    """
    if group is None:
        return list(rows)
    ranks = distributed.get_world_size(group)
    found: dict[int, Tensor] = {}
    for dtype in dict.fromkeys(r.dtype for r in rows):
        chosen = [i for i, r in enumerate(rows) if r.dtype == dtype]
        own = torch.cat([rows[i].reshape(-1) for i in chosen])
        # How many entries of each tensor every rank holds; messages are as long as the longest.
        sizes = [
            [_length(counts[i], ranks, index) * rows[i].shape[1:].numel() for i in chosen] for index in range(ranks)
        ]
        width = max(sum(part) for part in sizes)
        messages = list(own.new_empty(ranks, width).unbind())
        padded = own.new_zeros(width)
        padded[: len(own)] = own
        distributed.all_gather(messages, padded, group=group)
        pieces = [torch.split(message[: sum(part)], part) for message, part in zip(messages, sizes, strict=True)]
        for place, i in enumerate(chosen):
            found[i] = torch.cat([piece[place] for piece in pieces]).view(counts[i], *rows[i].shape[1:])
    return [found[i] for i in range(len(rows))]


def _length(count: int, ranks: int, index: int) -> int:
    return len(range(count)[_rows(count, ranks, index)])


def whole_all(tensors: Sequence[Tensor], rows: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Return whole, detached tensors on every rank.

    Args:
        tensors: Parameters, for example; all sharded, or none.
        rows: The rows that are here of other tensors of their shapes; None takes the tensors' own.
    """
    own = local_all(tensors) if rows is None else list(rows)
    return gathered(own, [len(t) for t in tensors], shards(tensors)) if tensors else []


def whole(tensor: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return one whole tensor, see `whole_all`; a scalar is not sharded."""
    if not isinstance(tensor, DTensor):
        return local(tensor) if rows is None else rows
    return whole_all([tensor], None if rows is None else [rows])[0]
