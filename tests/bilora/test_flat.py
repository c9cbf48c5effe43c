from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from bilora import build_optimizer
from bilora import flat as flat_module
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


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], int]]:
    """Sizes of what the kernel was given, and how many tensors."""
    found: list[tuple[list[int], int]] = []
    own = flat_module._update

    def update(group: Any, weights: Any, *rest: Any) -> None:
        found.append(([w.numel() for w in weights], len(weights)))
        own(group, weights, *rest)

    monkeypatch.setattr(flat_module, "_update", update)
    return found


@pytest.mark.parametrize("flat", [True, False])
def test_steps_are_those_of_adamw(flat: bool, calls: list[Any]) -> None:
    ours, optimizer, theirs, reference = pair()
    for step in range(5):
        give_gradients(ours, theirs, step, flat=flat)
        optimizer.step()
        reference.step()
    assert_equal(ours, theirs)
    # And it did run as vectors, over the parameters themselves.
    assert calls == [([15 + 8], 1), ([7 + 12], 1)] * 5
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


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA device"))],
)
def test_a_group_of_two_types_is_updated_tensor_by_tensor(device: str) -> None:
    ours = [nn.Parameter(torch.ones(3, dtype=dtype, device=device)) for dtype in (torch.float32, torch.float64)]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer, reference = FlatAdamW(ours, lr=0.1), AdamW(theirs, lr=0.1)
    for own, other in zip(ours, theirs, strict=True):
        own.grad, other.grad = torch.full_like(own, 2.0), torch.full_like(other, 2.0)
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours, theirs)


def test_options_that_it_does_not_have_are_refused() -> None:
    for options in ({"foreach": True}, {"amsgrad": True}, {"fused": False}):
        with pytest.raises(ValueError, match=r"use torch.optim.AdamW"):
            FlatAdamW(parameters(), lr=0.1, **options)
    for fused in (True, None):
        FlatAdamW(parameters(), lr=0.1, foreach=None, amsgrad=False, fused=fused)
    state = AdamW(parameters(), lr=0.1, amsgrad=True).state_dict()
    with pytest.raises(ValueError, match="amsgrad: FlatAdamW has no such option"):
        FlatAdamW(parameters(), lr=0.1).load_state_dict(state)


def test_a_gradient_scaler_unscales_and_skips() -> None:
    ours, optimizer, theirs, reference = pair()
    scalers = [torch.amp.GradScaler("cpu", init_scale=1024.0) for _ in range(2)]
    for step in range(3):
        for held, kind, scaler in zip((ours, theirs), (optimizer, reference), scalers, strict=True):
            loss = sum((p * (i + step + 1)).sum() for i, p in enumerate(held))
            scaler.scale(loss * (float("inf") if step == 1 else 1.0)).backward()
            scaler.step(kind)
            scaler.update()
            kind.zero_grad()
    assert_equal(ours, theirs)
    assert all(torch.isfinite(p).all() for p in ours)


@pytest.mark.parametrize("change", ["forget", "empty", "zero", "look"])
def test_a_state_that_others_change_is_honoured(change: str) -> None:
    ours, optimizer, theirs, reference = pair()
    if change == "look":
        assert optimizer.state[ours[0]] == reference.state[theirs[0]] == {}
    for step in range(5):
        if step == 2 and change != "look":
            for kind, held in ((optimizer, ours), (reference, theirs)):
                if change == "forget":
                    del kind.state[held[3]]
                elif change == "empty":
                    kind.state[held[3]] = {}
                else:
                    kind.state[held[3]]["exp_avg"] = torch.zeros_like(held[3])
        give_gradients(ours, theirs, step)
        optimizer.step()
        reference.step()
    assert_equal(ours, theirs)


def test_copies_go_on() -> None:
    ours, optimizer, theirs, reference = pair()
    for step in range(2):
        give_gradients(ours, theirs, step)
        optimizer.step()
        reference.step()
    (mine, optimizer), (yours, reference) = copy.deepcopy(((ours, optimizer), (theirs, reference)))
    optimizer = pickle.loads(pickle.dumps(optimizer))
    mine = [p for group in optimizer.param_groups for p in group["params"]]
    give_gradients(mine, yours, 2)
    optimizer.step()
    reference.step()
    assert_equal(mine, yours)


def test_counts_of_other_implementations_move_to_the_device() -> None:
    ours, optimizer, theirs, _ = pair()
    unfused = AdamW(groups(theirs), lr=1e-2, foreach=False)
    give_gradients(ours, theirs, 0)
    optimizer.step()
    unfused.step()
    saved = copy.deepcopy(unfused.state_dict())
    for state in saved["state"].values():
        state["step"] = float(state["step"])
    optimizer.load_state_dict(saved)
    assert all(group["fused"] for group in optimizer.param_groups)
    give_gradients(ours, theirs, 1)
    optimizer.step()
    unfused.step()
    assert_equal(ours, theirs)


def test_autograd_sees_that_weights_were_written() -> None:
    ours, optimizer, theirs, _ = pair()
    versions = [p._version for p in ours]
    give_gradients(ours, theirs, 0)
    optimizer.step()
    assert all(p._version > version for p, version in zip(ours, versions, strict=True))


def test_a_parameter_without_elements_is_in_nobodys_way(calls: list[Any]) -> None:
    held = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(0)), nn.Parameter(torch.ones(3))]
    optimizer = FlatAdamW(held, lr=0.1)
    for parameter in held:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert calls == [([5], 1)]
    torch.testing.assert_close(held[2].detach(), torch.full((3,), 0.899), rtol=1e-3, atol=0)


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
    assert in_one_piece([]) is None
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
