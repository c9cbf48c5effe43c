from __future__ import annotations

import pytest
import torch

from bilora import build_optimizer
from bilora.methods import LoraSam
from tests.tiny import as_batch, attached, examples, moved_off_zero, primary_state, train_loop


def test_rho_zero_is_lora_bit_for_bit_with_dropout() -> None:
    """Needs the same dropout masks in both passes, and the stream after the step where LoRA leaves it."""
    states = []
    for name, options in (("lora", {}), ("lora-sam", {"rho": 0.0})):
        model, method = attached(name, dropout=0.2, **options)
        torch.manual_seed(11)
        train_loop(model, method, build_optimizer(method, lr=1e-2), steps=4)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_gradient_is_the_one_at_the_perturbed_point() -> None:
    model, method = attached("lora-sam", rho=0.3)
    moved_off_zero(model)
    batch = as_batch(examples())
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    parameters = [p for p in model.parameters() if p.requires_grad]

    def loss_at(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), kwargs=batch).loss

    clean = torch.autograd.grad(loss_at(parameters), parameters)
    norm = torch.sqrt(sum(g.double().pow(2).sum() for g in clean))
    moved = [(p + 0.3 * g / norm).float().detach().requires_grad_() for p, g in zip(parameters, clean, strict=True)]
    expected = torch.autograd.grad(loss_at(moved), moved)

    before = [p.detach().clone() for p in parameters]
    seen: list[float] = []

    def forward_backward() -> torch.Tensor:
        seen.append(float(sum((p.detach() - b).pow(2).sum() for p, b in zip(parameters, before, strict=True)).sqrt()))
        loss = model(**batch).loss
        loss.backward()
        return loss.detach()

    method.gradients(forward_backward)
    assert seen == [0.0, pytest.approx(0.3, rel=1e-5)]
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)
    assert method.cost.gradients == 2


def test_logged_norm_is_the_weight_space_change() -> None:
    model, method = attached("lora-sam", rho=0.3)
    assert isinstance(method, LoraSam)
    moved_off_zero(model)
    batch = as_batch(examples())
    changes: list[torch.Tensor] = []

    def product() -> list[torch.Tensor]:
        return [f.scaling * f.B.detach().double() @ f.A.detach().double() for f in method.weights.factors]

    start = product()

    def forward_backward() -> torch.Tensor:
        difference = [a - b for a, b in zip(product(), start, strict=True)]
        changes.append(sum(d.pow(2).sum() for d in difference).sqrt())
        loss = model(**batch).loss
        loss.backward()
        return loss.detach()

    method.gradients(forward_backward)
    assert method.means.pop()["perturbation_norm"] == pytest.approx(changes[1].item(), rel=1e-5)


def test_a_zero_gradient_is_no_division_by_zero() -> None:
    model, method = attached("lora-sam", rho=0.1)
    batch = as_batch(examples())
    before = primary_state(model)

    def forward_backward() -> torch.Tensor:
        loss = 0.0 * model(**batch).loss
        loss.backward()
        return loss.detach()

    method.gradients(forward_backward)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    after = primary_state(model)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert method.means.pop()["perturbation_norm"] == 0.0
