from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bilora import LoraFactors, Method, build_optimizer
from bilora.methods import MethodError
from tests.driving import in_double, step_gradients, train
from tests.tiny import as_batch, attached, examples, primary_state

RATE, ALPHA = 0.05, 0.5


def factors(method: Any) -> list[LoraFactors]:
    found: list[LoraFactors] = method.weights.factors
    return found


def expected_after(method: Method, *, by_gradient: bool) -> list[tuple[Tensor, Tensor]]:
    """One SGD step by the printed rule, layer by layer, in plain tensors."""
    a = ALPHA * RATE
    found, decisions = [], set()
    for layer in factors(method):
        x, y, g_x, g_y = layer.A.detach(), layer.B.detach(), layer.A.grad, layer.B.grad
        if by_gradient:
            grown_first = torch.linalg.matrix_norm(g_x) >= torch.linalg.matrix_norm(g_y)
        else:
            grown_first = torch.linalg.matrix_norm(x) < torch.linalg.matrix_norm(y)
        decisions.add(bool(grown_first))
        first, second = (1 + a, 1 - a) if grown_first else (1 - a, 1 + a)
        found.append((first * x - RATE * g_x, second * y - RATE * g_y))
    assert decisions == {True, False}
    return found


def mixed_sizes(method: Method) -> None:
    """Let A be the larger factor in every other layer only."""
    with torch.no_grad():
        for index, layer in enumerate(factors(method)):
            layer.B.mul_(30.0 if index % 2 else 1.0)


@pytest.mark.parametrize("name", ["lora-obar", "lora-nbar"])
def test_one_step_equals_the_printed_rule_with_sgd(name: str) -> None:
    model, method = in_double(name, alpha=ALPHA)
    mixed_sizes(method)
    step_gradients(method, model, as_batch(examples()))
    expected = expected_after(method, by_gradient=name == "lora-nbar")
    build_optimizer(method, lr=RATE, max_grad_norm=0.0, optimizer_class=torch.optim.SGD).step()
    for layer, (A, B) in zip(factors(method), expected, strict=True):
        torch.testing.assert_close(layer.A.detach(), A, rtol=1e-6, atol=1e-10)
        torch.testing.assert_close(layer.B.detach(), B, rtol=1e-6, atol=1e-10)


def test_obar_balances_the_norms_and_keeps_the_product_to_second_order() -> None:
    _, method = in_double("lora-obar", alpha=ALPHA)
    mixed_sizes(method)
    optimizer = build_optimizer(method, lr=RATE, optimizer_class=torch.optim.SGD)
    layers = factors(method)

    def gaps() -> Tensor:
        return torch.stack([(f.A.detach().norm() ** 2 - f.B.detach().norm() ** 2).abs() for f in layers])

    start, products = gaps(), [f.B.detach() @ f.A.detach() for f in layers]
    for parameter in method.weights.parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert (gaps() < start).all()
    for layer, product in zip(layers, products, strict=True):
        torch.testing.assert_close(
            layer.B.detach() @ layer.A.detach(), (1 - (ALPHA * RATE) ** 2) * product, rtol=1e-6, atol=0
        )
    assert method.means.pop()["imbalance"] == pytest.approx(start.mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["lora-obar", "lora-nbar"])
def test_alpha_zero_is_lora_bit_for_bit(name: str) -> None:
    states = []
    options: dict[str, dict[str, Any]] = {"lora": {}, name: {"alpha": 0.0}}
    for each, given in options.items():
        model, method = attached(each, **given)
        train(method, model, steps=3)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_coefficient_follows_its_schedule() -> None:
    """With no gradient a step multiplies A by 1 - a h, and h is the same each step."""
    _, method = in_double("lora-obar", alpha=ALPHA, schedule="linear")
    optimizer = build_optimizer(method, lr=RATE, optimizer_class=torch.optim.SGD, total_steps=4)
    layer = factors(method)[0]
    shrunk = []
    for _ in range(4):
        for parameter in method.weights.parameters:
            parameter.grad = torch.zeros_like(parameter)
        before = layer.A.detach().norm().item()
        optimizer.step()
        shrunk.append(1 - layer.A.detach().norm().item() / before)
    assert shrunk == pytest.approx([ALPHA * RATE * share for share in (1.0, 0.75, 0.5, 0.25)], rel=1e-5)


def test_there_is_no_radius() -> None:
    with pytest.raises(MethodError, match=r"method 'lora-obar' has no option 'rho'.*its options: alpha, schedule"):
        attached("lora-obar", rho=0.1)
