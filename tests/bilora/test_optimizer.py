from __future__ import annotations

import pytest
import torch

from bilora import build_optimizer
from bilora.flat import copies_in_one_piece
from bilora.optimizer import clip_gradients
from tests.tiny import as_batch, attached, examples


def test_each_group_is_clipped_on_its_own() -> None:
    model, method = attached("bilora")
    optimizer = build_optimizer(method, lr=0.0, max_grad_norm=1e-3, optimizer_class=torch.optim.SGD)
    model(**as_batch(examples())).loss.backward()
    norms = [torch.nn.utils.get_total_norm([p.grad for p in g["params"]]).item() for g in optimizer.param_groups]
    assert min(norms) > 1e-3
    optimizer.step()
    clipped = [torch.nn.utils.get_total_norm([p.grad for p in g["params"]]).item() for g in optimizer.param_groups]
    assert clipped == pytest.approx([1e-3, 1e-3], rel=1e-3)
    means = method.means.pop()
    assert [means["grad_norm"], means["auxiliary_grad_norm"]] == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 100.0])
def test_gradients_in_one_piece_are_clipped_by_the_same_rule(max_norm: float) -> None:
    values = [torch.randn(3, 4), torch.randn(5)]
    whole, apart = ([torch.nn.Parameter(torch.zeros_like(v)) for v in values] for _ in range(2))
    for held, gradients in ((whole, copies_in_one_piece(values)), (apart, [v.clone() for v in values])):
        for parameter, gradient in zip(held, gradients, strict=True):
            parameter.grad = gradient
    expected = torch.nn.utils.clip_grad_norm_(apart, max_norm or float("inf"))
    torch.testing.assert_close(clip_gradients(whole, max_norm), expected)
    torch.testing.assert_close([p.grad for p in whole], [p.grad for p in apart])


def test_zero_switches_clipping_off() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([parameter], 0.0).item() == 5.0
    assert parameter.grad.tolist() == [3.0, 4.0]


def test_groups_differ_in_direction_rate_and_decay() -> None:
    _, method = attached("bilora", auxiliary_learning_rate=0.5)
    primary, auxiliary = build_optimizer(method, lr=0.1, weight_decay=0.2).param_groups
    assert (primary["lr"], primary["weight_decay"], primary["maximize"]) == (0.1, 0.2, False)
    assert (auxiliary["lr"], auxiliary["weight_decay"], auxiliary["maximize"]) == (0.5, 0.0, True)


def test_a_gradient_scaler_unscales_before_the_clip_also_with_a_fused_optimizer() -> None:
    norms = []
    for scale in (1.0, 65536.0):
        model, method = attached("bilora")
        optimizer = build_optimizer(method, lr=1e-3, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(model(**as_batch(examples())).loss).backward()
        scaler.step(optimizer)
        norms.append(method.means.pop()["grad_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_a_step_that_overflows_is_skipped_with_its_hooks() -> None:
    model, method = attached("bilora")
    optimizer = build_optimizer(method, lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model(**as_batch(examples())).loss).backward()
    next(p for p in model.parameters() if p.grad is not None).grad.fill_(float("inf"))
    scaler.step(optimizer)
    assert method.means.pop() == {}
