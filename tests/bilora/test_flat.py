from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from bilora import build_optimizer
from bilora.flat import FlatAdamW, copies_in_one_piece, in_one_piece, lay_out
from tests.tiny import as_batch, attached, examples

SHAPES = [(3, 5), (4, 2), (7,), (2, 3, 2)]


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def groups(held: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": held[:2], "weight_decay": 0.1},
        {"params": held[2:], "lr": 3e-2, "maximize": True, "weight_decay": 0.0},
    ]


def pair() -> tuple[list[nn.Parameter], Any, list[nn.Parameter], Any]:
    ours, theirs = parameters(), parameters()
    return ours, FlatAdamW(groups(ours), lr=1e-2), theirs, AdamW(groups(theirs), lr=1e-2)


def give_gradients(ours: list[nn.Parameter], theirs: list[nn.Parameter], step: int, *, flat: bool = True) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    gradients = [torch.randn(p.shape, generator=generator) for p in ours]
    for held in (ours, theirs):
        own = copies_in_one_piece(gradients) if flat and held is ours else [g.clone() for g in gradients]
        for parameter, gradient in zip(held, own, strict=True):
            parameter.grad = gradient


def assert_equal(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("flat", [True, False])
def test_steps_are_those_of_adamw(flat: bool) -> None:
    ours, optimizer, theirs, reference = pair()
    for step in range(5):
        give_gradients(ours, theirs, step, flat=flat)
        optimizer.step()
        reference.step()
    assert_equal(ours, theirs)
    # And it did run as vectors, over the parameters themselves.
    vector = optimizer._pieces[1].parameters
    assert vector.data_ptr() == ours[2].data_ptr()
    assert vector.numel() == 7 + 12
    assert optimizer.state[ours[3]]["step"] == 5


def test_a_parameter_without_gradient_is_left_alone() -> None:
    ours, optimizer, theirs, reference = pair()
    for step in range(4):
        give_gradients(ours, theirs, step)
        if step in (0, 2):
            ours[3].grad = theirs[3].grad = None
        before = ours[3].detach().clone()
        optimizer.step()
        reference.step()
        assert torch.equal(ours[3], before) == (step in (0, 2))
    assert_equal(ours, theirs)
    assert optimizer.state[ours[3]]["step"] == 2
    resumed = FlatAdamW(groups(ours), lr=1e-2)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in (4, 5):
        give_gradients(ours, theirs, step)
        resumed.step()
        reference.step()
    assert_equal(ours, theirs)


def test_states_are_exchanged_with_adamw() -> None:
    ours, optimizer, theirs, reference = pair()
    for step in range(3):
        give_gradients(ours, theirs, step)
        optimizer.step()
        reference.step()
    saved, other = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(reference.state_dict())
    assert [set(state) for state in saved["state"].values()] == [{"step", "exp_avg", "exp_avg_sq"}] * 4
    optimizer.load_state_dict(other)
    reference.load_state_dict(saved)
    for step in range(3, 5):
        give_gradients(ours, theirs, step)
        optimizer.step()
        reference.step()
    assert_equal(ours, theirs)
    assert optimizer.state[ours[0]]["step"] == 5
    assert in_one_piece([optimizer.state[p]["exp_avg"] for p in ours[2:]]) is not None


def test_parameters_that_move_are_found_again() -> None:
    ours, optimizer, theirs, reference = pair()
    for step in range(3):
        give_gradients(ours, theirs, step)
        if step == 1:
            ours[0].data = ours[0].data.clone()
        optimizer.step()
        reference.step()
    assert_equal(ours, theirs)


def test_a_group_of_two_types_is_updated_tensor_by_tensor() -> None:
    ours = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.float64))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer, reference = FlatAdamW(ours, lr=0.1), AdamW(theirs, lr=0.1)
    for own, other in zip(ours, theirs, strict=True):
        own.grad, other.grad = torch.full_like(own, 2.0), torch.full_like(other, 2.0)
        optimizer.step()
        reference.step()
    assert optimizer._pieces == {}
    torch.testing.assert_close(ours, theirs)


def test_options_that_it_does_not_have_are_refused() -> None:
    for options in ({"foreach": True}, {"amsgrad": True}, {"fused": False}):
        with pytest.raises(ValueError, match="use AdamW"):
            FlatAdamW(parameters(), lr=0.1, **options)
    FlatAdamW(parameters(), lr=0.1, foreach=None, amsgrad=False, fused=True)


def test_one_piece_is_one_storage_without_gaps() -> None:
    views = copies_in_one_piece([torch.arange(6.0).view(2, 3), torch.ones(4)])
    vector = in_one_piece(views)
    assert vector is not None
    assert torch.equal(vector, torch.tensor([0.0, 1, 2, 3, 4, 5, 1, 1, 1, 1]))
    vector.mul_(2)
    assert views[1].sum() == 8
    assert in_one_piece(views[::-1]) is None
    assert in_one_piece([views[0], torch.ones(4)]) is None
    assert in_one_piece([views[0].T, views[1]]) is None
    whole = torch.zeros(12)
    assert in_one_piece([whole[:4], whole[5:]]) is None
    inner = in_one_piece([whole[2:5], whole[5:7]])
    assert inner is not None
    assert (inner.numel(), inner.storage_offset()) == (5, 2)


def test_laid_out_parameters_stay_the_same_objects() -> None:
    held = parameters()
    values: list[Tensor] = [p.detach().clone() for p in held]
    assert lay_out(held)
    assert all(torch.equal(p, value) for p, value in zip(held, values, strict=True))
    address = held[0].data_ptr()
    assert lay_out(held)
    assert held[0].data_ptr() == address  # not moved twice
    assert not lay_out([*held, nn.Parameter(torch.ones(2, dtype=torch.float64))])
    assert not lay_out([])


def test_bilora_trains_alike_with_it() -> None:
    trained = {}
    for name, optimizer_class in (("flat", FlatAdamW), ("stock", AdamW)):
        model, method = attached("bilora", rho=1e-3)
        optimizer = build_optimizer(method, lr=1e-2, max_grad_norm=0.1, optimizer_class=optimizer_class)
        for _ in range(6):
            method.gradients(partial(backward, model, as_batch(examples())))
            optimizer.step()
            optimizer.zero_grad()
        trained[name] = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        assert method.pair.auxiliary_norms_squared().sum().sqrt() <= 1e-3
    assert trained["flat"].keys() == trained["stock"].keys()
    for name, value in trained["flat"].items():
        torch.testing.assert_close(value, trained["stock"][name], rtol=1e-4, atol=1e-6)


def backward(model: Any, batch: dict[str, Tensor]) -> Tensor:
    loss: Tensor = model(**batch).loss
    loss.backward()
    return loss.detach()
