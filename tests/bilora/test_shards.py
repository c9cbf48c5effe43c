from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from benchmarks.on_ranks import on_ranks
from bilora.ranks import average, joined_over_ranks, mean_over_ranks
from bilora.shards import ShardingError, local, owned, put, shard_of, shards, summed, whole, whole_all

# Of three rows the second rank has one, of one row none.
WHOLES = [torch.arange(12.0).view(3, 4), torch.arange(5.0).view(1, 5), torch.arange(4.0, dtype=torch.float64)]


def test_without_ranks_everything_is_here() -> None:
    tensor = torch.arange(6.0).view(3, 2).requires_grad_()
    assert shards([tensor]) is None
    assert local(tensor).data_ptr() == whole(tensor).data_ptr() == tensor.data_ptr()
    assert not local(tensor).requires_grad
    assert owned(tensor, tensor) is tensor
    assert torch.equal(shard_of(tensor, tensor), tensor)
    put(tensor, torch.full((2, 1), 9.0))
    assert tensor.tolist() == [[9.0, 1.0], [9.0, 3.0], [4.0, 5.0]]
    assert summed(tensor, None) is tensor


def _shared() -> dict[str, Tensor | str]:
    mesh = init_device_mesh("cpu", (2,))
    held = [distribute_tensor(t, mesh, [Shard(0)]) for t in WHOLES]
    found: dict[str, Tensor | str] = {f"whole {i}": t for i, t in enumerate(whole_all(held))}
    found |= {f"rows {i}": local(t).clone() for i, t in enumerate(held)}
    found["of another"] = whole(held[0], 2 * local(held[0]))
    found["owned"] = whole(owned(local(held[0]) + 1, held[0]))
    put(held[0], torch.full((2, 3), -1.0))
    found["put"] = whole(held[0])
    found["summed"] = summed(local(held[2]).sum(), shards(held[2:]))
    rank = torch.distributed.get_rank()
    found["mean"] = mean_over_ranks(torch.tensor(float(rank)))
    own = torch.full((3,), float(rank)), torch.full((2,), float(rank), dtype=torch.float64)
    average(own)
    found["averaged"] = torch.cat([t.double() for t in own])
    joined, place = joined_over_ranks(torch.full((1 + rank,), float(rank)))
    found |= {"joined": joined, "own": joined[place]}
    for name, tensors in (
        ("copied", [distribute_tensor(WHOLES[0], mesh, [Replicate()])]),
        ("columns", [distribute_tensor(WHOLES[0], mesh, [Shard(1)])]),
        ("mixed", [held[0], WHOLES[1]]),
    ):
        with pytest.raises(ShardingError) as refused:
            shards(tensors)
        found[name] = str(refused.value)
    return found


@pytest.mark.slow
def test_rows_are_gathered_written_and_summed_over_two_ranks(tmp_path: Path) -> None:
    first, second = on_ranks(_shared, tmp_path)
    for found in (first, second):
        assert all(torch.equal(found[f"whole {i}"], t) for i, t in enumerate(WHOLES))
        assert torch.equal(found["of another"], 2 * WHOLES[0])
        assert torch.equal(found["owned"], WHOLES[0] + 1)
        assert found["put"].tolist() == [[-1.0, -1.0, -1.0, 3.0], [-1.0, -1.0, -1.0, 7.0], [8.0, 9.0, 10.0, 11.0]]
        assert found["summed"] == 6.0
        assert found["mean"] == 0.5
        assert found["averaged"].tolist() == [0.5] * 5
        assert found["joined"].tolist() == [0.0, 1.0, 1.0]
        assert all("FSDP2's" in found[name] for name in ("copied", "columns", "mixed"))
    assert [tuple(first[f"rows {i}"].shape) for i in range(3)] == [(2, 4), (1, 5), (2,)]
    assert [tuple(second[f"rows {i}"].shape) for i in range(3)] == [(1, 4), (0, 5), (2,)]
    assert (first["own"].tolist(), second["own"].tolist()) == ([0.0], [1.0, 1.0])
