from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bilora import build_optimizer
from bilora.methods import MethodError
from tests.driving import Points, flat, gradient_at, in_double, like, present, step_gradients, train, trained
from tests.tiny import as_batch, attached, examples, primary_state

RHO = 0.3


def batches(count: int) -> list[dict[str, Tensor]]:
    return [as_batch(examples(seed=20 + index)) for index in range(count)]


@pytest.mark.parametrize("name", ["s2sam", "msam"])
def test_rho_zero_is_lora_bit_for_bit(name: str) -> None:
    states = []
    options: dict[str, dict[str, Any]] = {"lora": {}, name: {"rho": 0.0}}
    for each, given in options.items():
        model, method = attached(each, dropout=0.2, **given)
        torch.manual_seed(11)
        train(method, model, steps=4, fresh=True)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_s2sam_takes_its_gradient_along_the_unclipped_gradient_of_the_step_before() -> None:
    """Three steps of plain SGD against the printed recursion; the optimizer clips hard, which h must not feel."""
    model, method = in_double("s2sam", rho=RHO)
    optimizer = build_optimizer(method, lr=0.1, max_grad_norm=1e-3, optimizer_class=torch.optim.SGD)
    last: Tensor | None = None
    for batch in batches(3):
        moves = None if last is None else RHO * last / last.norm()
        expected = gradient_at(model, batch, None if moves is None else like(moves, trained(model)))
        points = Points(model)
        step_gradients(method, model, batch, seen=points)
        assert points.moves[0].norm() == pytest.approx(0.0 if last is None else RHO, rel=1e-6)
        torch.testing.assert_close(flat(present(model)), flat(expected), rtol=1e-5, atol=1e-9)
        last = flat(present(model))
        optimizer.step()
        optimizer.zero_grad()
    assert method.cost.gradients == 3


def test_s2sam_published_adaptive_rule_is_reproduced() -> None:
    """The published code squares the gradient in place of the weight, and takes the norm with the weight it moved."""
    model, method = in_double("s2sam", rho=RHO, rule="published-adaptive")
    optimizer = build_optimizer(method, lr=0.1, max_grad_norm=0.0, optimizer_class=torch.optim.SGD)
    last, point = torch.zeros(()), torch.zeros(())
    for step, batch in enumerate(batches(3)):
        start = flat(trained(model))
        points = Points(model)
        step_gradients(method, model, batch, seen=points)
        if step:
            expected = RHO * last**3 / (point.abs() * last).norm()
            torch.testing.assert_close(points.moves[0], expected, rtol=1e-5, atol=1e-12)
        last, point = flat(present(model)), start + points.moves[0]
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize(("direction", "sign"), [("lookahead", -1.0), ("ascent", 1.0)])
@pytest.mark.parametrize("settings", [{}, {"optimizer_class": torch.optim.SGD, "momentum": 0.9}])
def test_msam_moves_along_the_optimizers_momentum(direction: str, sign: float, settings: dict[str, Any]) -> None:
    """The momentum is kept here by hand, as a sum of gradients; Adam's mean has the same direction."""
    model, method = in_double("msam", rho=RHO, direction=direction)
    optimizer = build_optimizer(method, lr=1e-2, max_grad_norm=0.0, **settings)
    momentum = torch.zeros(())
    for step, batch in enumerate(batches(3)):
        points = Points(model)
        step_gradients(method, model, batch, seen=points)
        expected = sign * RHO * momentum / momentum.norm() if step else torch.zeros_like(points.moves[0])
        torch.testing.assert_close(points.moves[0], expected, rtol=1e-5, atol=1e-9)
        momentum = 0.9 * momentum + flat(present(model))
        optimizer.step()
        optimizer.zero_grad()
    assert method.cost.gradients == 3


def test_msam_needs_a_momentum() -> None:
    _, method = attached("msam")
    with pytest.raises(MethodError, match="SGD keeps none here; use AdamW, or SGD with momentum > 0"):
        build_optimizer(method, lr=0.1, optimizer_class=torch.optim.SGD)
    model, method = attached("msam")
    optimizer = build_optimizer(method, lr=0.1)
    step_gradients(method, model, as_batch(examples()))
    optimizer.step()
    for entry in optimizer.state.values():
        entry["state1"] = entry.pop("exp_avg").to(torch.uint8)
    with pytest.raises(MethodError, match=r"found only .*state1.*8-bit optimizers keep it packed"):
        step_gradients(method, model, as_batch(examples()))


def test_s2sam_refuses_the_state_of_another_adapter() -> None:
    model, method = attached("s2sam")
    train(method, model, steps=1)
    state = {key: value[..., :1] if key.startswith("gradient") else value for key, value in method.state_dict().items()}
    with pytest.raises(MethodError, match="resume with the model and the adapter"):
        method.load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("s2sam", {"rule": "adaptive"}, "option rule is 'adaptive'; expected one of gradient, published-adaptive"),
        ("msam", {"direction": "up"}, "option direction is 'up'; expected one of lookahead, ascent"),
        ("msam", {"momentum": 0.9}, "method 'msam' has no option 'momentum'"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        attached(name, **options)
