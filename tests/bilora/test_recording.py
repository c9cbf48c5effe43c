from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bilora.recording import GraphError, Recording, _flat_gradients, record


def recorded(parameters: list[nn.Parameter]) -> Recording:
    graph: Any = None
    return Recording(graph, {}, torch.zeros(()), _flat_gradients(parameters), repeatable=True, read=[])


def test_gradients_lie_in_one_buffer_a_type_and_are_added() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.full((2, 3), 2.0), torch.arange(4.0)
    recording = recorded(parameters)
    ((reached, flat),) = recording.gradients
    assert {id(p) for p in reached} == {id(p) for p in parameters[:2]}
    assert flat.shape == (10,)
    parameters[1].grad = None
    recording.add_gradients()
    assert torch.equal(parameters[0].grad, torch.full((2, 3), 4.0))
    assert torch.equal(parameters[1].grad, torch.arange(4.0))
    assert parameters[2].grad is None
    flat.zero_()
    assert torch.equal(parameters[1].grad, torch.arange(4.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
def test_what_cannot_be_recorded_leaves_the_gradients_that_were_there() -> None:
    weight = nn.Parameter(torch.ones(3, device="cuda"))
    weight.grad = torch.full_like(weight, 5.0)

    def waits(batch: dict[str, Any]) -> torch.Tensor:
        loss = (weight * batch["x"]).sum()
        loss.backward()
        return loss.detach() * float(loss.detach())

    with pytest.raises(GraphError, match=r"cannot be recorded as a CUDA graph: .*; leave CUDA graphs off"):
        record(
            waits,
            {"x": torch.ones(3, device="cuda")},
            trained=[weight],
            buffers=[],
            read=[weight],
            pool=torch.cuda.graph_pool_handle(),
        )
    assert torch.equal(weight.grad, torch.full_like(weight, 5.0))
