from __future__ import annotations

import pytest
import torch

from bilora import build_optimizer
from bilora.factor_norms import product_norms_squared
from bilora.methods import BiLora
from tests.tiny import as_batch, attached, examples, primary_state, train_loop


def auxiliary_norm(method: BiLora) -> float:
    """The radius by explicit products in float64, not by Gram matrices."""
    squares = [
        torch.linalg.matrix_norm(f.scaling * f.B.detach().double() @ f.A.detach().double()) ** 2
        for f in method.pair.auxiliary
    ]
    return float(torch.stack(squares).sum().sqrt())


def trained_with(name: str, *, fused: bool, **options: float) -> dict[str, torch.Tensor]:
    model, method = attached(name, fused=fused, **options)
    torch.manual_seed(11)
    train_loop(model, method, build_optimizer(method, lr=1e-2), steps=4)
    return primary_state(model)


def test_rho_zero_is_lora_bit_for_bit() -> None:
    lora, bilora = trained_with("lora", fused=False), trained_with("bilora", fused=False, rho=0.0)
    assert lora.keys() == bilora.keys()
    assert all(torch.equal(lora[name], bilora[name]) for name in lora)


def test_rho_zero_is_lora_to_rounding_where_layers_are_fused() -> None:
    lora, bilora = trained_with("lora", fused=True), trained_with("bilora", fused=True, rho=0.0)
    for name in lora:
        torch.testing.assert_close(bilora[name], lora[name], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("rho", [1e-3, 0.05, 0.5])
def test_radius_is_reached_and_never_exceeded(rho: float) -> None:
    model, method = attached("bilora", rho=rho)
    assert isinstance(method, BiLora)
    optimizer = build_optimizer(method, lr=1e-2)
    norms = []
    for _ in range(6):
        train_loop(model, method, optimizer, steps=1)
        norms.append(auxiliary_norm(method))
    assert max(norms) <= rho
    assert norms[-1] == pytest.approx(rho, rel=1e-5)


def test_per_layer_clip_bounds_every_layer_and_none_bounds_nothing() -> None:
    model, method = attached("bilora", rho=0.01, clip="per-layer")
    assert isinstance(method, BiLora)
    train_loop(model, method, build_optimizer(method, lr=1e-2), steps=3)
    norms = product_norms_squared([(f.A, f.B, f.scaling) for f in method.pair.auxiliary]).sqrt()
    assert norms.max().item() <= 0.01 * (1 + 1e-6)
    assert auxiliary_norm(method) > 0.01
    model, method = attached("bilora", rho=0.01, clip="none")
    assert isinstance(method, BiLora)
    train_loop(model, method, build_optimizer(method, lr=1e-2), steps=3)
    assert auxiliary_norm(method) > 0.05


def test_one_step_equals_the_printed_rule_with_sgd() -> None:
    """Descent and ascent on one shared gradient, then the projection (paper, Algorithm 1), in plain tensors."""
    model, method = attached("bilora", rho=0.02)
    assert isinstance(method, BiLora)
    train_loop(model, method, build_optimizer(method, lr=1e-2), steps=2)
    batch = as_batch(examples())
    model.zero_grad()
    model(**batch).loss.backward()
    rate = 0.05
    expected_primary = [(f.A - rate * f.A.grad, f.B - rate * f.B.grad) for f in method.pair.primary]
    ascended = [(f.A + rate * f.A.grad, f.B + rate * f.B.grad, f.scaling) for f in method.pair.auxiliary]
    norm = sum(torch.linalg.matrix_norm(s * B @ A) ** 2 for A, B, s in ascended).sqrt()
    assert norm > 0.02
    optimizer = build_optimizer(method, lr=rate, max_grad_norm=0.0, optimizer_class=torch.optim.SGD)
    optimizer.step()
    shrink = (0.02 / norm).sqrt()
    for layer, (A, B) in zip(method.pair.primary, expected_primary, strict=True):
        torch.testing.assert_close(layer.A.data, A.data)
        torch.testing.assert_close(layer.B.data, B.data)
    for layer, (A, B, _) in zip(method.pair.auxiliary, ascended, strict=True):
        torch.testing.assert_close(layer.A.data, shrink * A.data, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(layer.B.data, shrink * B.data, rtol=1e-5, atol=1e-8)


def test_auxiliary_climbs() -> None:
    """With the primary held still, training the auxiliary raises the loss on its batch."""
    model, method = attached("bilora", rho=0.5)
    assert isinstance(method, BiLora)
    groups = method.parameter_groups(learning_rate=0.0, weight_decay=0.0)
    groups[1]["lr"] = 1e-2
    optimizer = torch.optim.AdamW(groups)
    batch = as_batch(examples())
    with torch.no_grad():
        start = model(**batch).loss.item()
    for _ in range(10):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert model(**batch).loss.item() > start + 1e-3
        with method.evaluation():
            assert model(**batch).loss.item() == start


def test_logged_norm_and_clip_fraction() -> None:
    model, method = attached("bilora", rho=0.02)
    train_loop(model, method, build_optimizer(method, lr=1e-2), steps=3)
    means = method.means.pop()
    assert means["clip_active"] == 1.0
    assert means["perturbation_norm"] == pytest.approx(0.02, rel=1e-6)
    assert {"grad_norm", "auxiliary_grad_norm"} <= means.keys()
    assert method.cost.gradients == 3


def test_radius_without_the_scaling_bounds_the_bare_product() -> None:
    """alpha / r = 2 here, so the change of the weights, which is what is logged, is twice the radius."""
    model, method = attached("bilora", rho=0.02, radius_includes_scaling=False)
    assert isinstance(method, BiLora)
    train_loop(model, method, build_optimizer(method, lr=1e-2), steps=4)
    assert auxiliary_norm(method) == pytest.approx(2 * 0.02, rel=1e-5)
    means = method.means.pop()
    assert means["clip_active"] == 1.0
    assert means["perturbation_norm"] == pytest.approx(2 * 0.02, rel=1e-5)


@pytest.mark.parametrize(("schedule", "expected"), [("primary", 0.5), ("constant", 1.0)])
def test_auxiliary_learning_rate_follows_the_scheduler_or_stays_at_its_peak(schedule: str, expected: float) -> None:
    model, method = attached("bilora", auxiliary_schedule=schedule, auxiliary_learning_rate=2e-2)
    optimizer = build_optimizer(method, lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    used: list[list[float]] = []
    optimizer.register_step_post_hook(lambda o, *_: used.append([group["lr"] for group in o.param_groups]))
    for _ in range(3):
        train_loop(model, method, optimizer, steps=1)
        scheduler.step()
    assert used == [pytest.approx([1e-2 * 0.5**step, 2e-2 * expected**step]) for step in range(3)]
    # A resumed run reads the rates of a checkpoint, which was written after the scheduler's step.
    _, resumed = attached("bilora", auxiliary_schedule=schedule, auxiliary_learning_rate=2e-2)
    again = build_optimizer(resumed, lr=1e-2)
    again.load_state_dict(optimizer.state_dict())
    again.step()
    assert [g["lr"] for g in again.param_groups] == pytest.approx([1e-2 * 0.5**3, 2e-2 * expected**3])
