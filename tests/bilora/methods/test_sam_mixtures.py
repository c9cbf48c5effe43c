from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bilora import build_optimizer
from bilora.methods import Gsam, MethodError, Wsam, create_method
from bilora.methods.window import Cost, LoopWindow
from tests.driving import Points, flat, gradient_at, in_double, like, present, step_gradients, trained
from tests.tiny import as_batch, attached, examples


def two_gradients(model: Any, batch: dict[str, Tensor], rho: float) -> tuple[Tensor, Tensor]:
    """g, and the gradient at rho g / ||g||."""
    g = flat(gradient_at(model, batch))
    return g, flat(gradient_at(model, batch, like(rho * g / g.norm(), trained(model))))


def test_gsam_takes_away_the_part_of_g_that_sam_does_not_share() -> None:
    model, method = in_double("gsam", rho=0.3, alpha=0.6)
    batch = as_batch(examples())
    g, sharp = two_gradients(model, batch, 0.3)
    across = g - (g @ sharp) / (sharp @ sharp) * sharp
    assert across.norm() > 0.05 * g.norm()  # the test would say nothing of parallel gradients
    step_gradients(method, model, batch)
    torch.testing.assert_close(flat(present(model)), sharp - 0.6 * across, rtol=1e-5, atol=1e-8)


def test_gsam_radius_follows_the_learning_rate() -> None:
    model, method = attached("gsam", rho=0.4, rho_min=0.1)
    assert isinstance(method, Gsam)
    assert method.radius() == 0.4  # no optimizer yet
    optimizer = build_optimizer(method, lr=2e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [0.0, 0.5, 1.0, 0.25][min(step, 3)])
    for radius in (0.1, 0.25, 0.4, 0.175):
        points = Points(model)
        step_gradients(method, model, as_batch(examples()), seen=points)
        assert method.radius() == pytest.approx(radius, rel=1e-6)
        assert points.moves[1].norm().item() == pytest.approx(radius, rel=1e-4)
        assert method.means.pop()["rho"] == pytest.approx(radius, rel=1e-6)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def test_gsam_bound_to_an_optimizer_that_already_has_a_schedule_knows_its_peak() -> None:
    _, method = attached("gsam", rho=0.4, rho_min=0.1)
    assert isinstance(method, Gsam)
    optimizer = torch.optim.AdamW(method.parameter_groups(learning_rate=1e-2, weight_decay=0.0))
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    method.bind(optimizer)
    assert method.radius() == pytest.approx(0.25)


@pytest.mark.parametrize("gamma", [0.3, 0.9])
def test_wsam_coupled_mixes_both_gradients(gamma: float) -> None:
    model, method = in_double("wsam", rho=0.3, gamma=gamma, decoupled=False)
    batch, kappa = as_batch(examples()), gamma / (1 - gamma)
    g, sharp = two_gradients(model, batch, 0.3)
    step_gradients(method, model, batch)
    torch.testing.assert_close(flat(present(model)), (1 - kappa) * g + kappa * sharp, rtol=1e-5, atol=1e-7)


def test_wsam_decoupled_corrects_behind_the_optimizer() -> None:
    """The optimizer sees g alone; the correction has the learning rate of the very step."""
    model, method = in_double("wsam", rho=0.3, gamma=0.75)
    batch = as_batch(examples())
    g, sharp = two_gradients(model, batch, 0.3)
    optimizer = build_optimizer(method, lr=1e-2)
    optimizer.param_groups[0]["lr"] = 4e-3
    step_gradients(method, model, batch)
    torch.testing.assert_close(flat(present(model)), g, rtol=1e-9, atol=1e-12)
    points, twin = Points(model), [p.detach().clone().requires_grad_() for p in trained(model)]
    plain = torch.optim.AdamW(twin, lr=4e-3, weight_decay=0.0)
    start = flat(twin)
    for p, gradient in zip(twin, present(model), strict=True):
        p.grad = gradient
    torch.nn.utils.clip_grad_norm_(twin, 1.0)
    plain.step()
    optimizer.step()
    points(None)
    expected = flat(twin) - start - 4e-3 * 3 * (sharp - g)
    torch.testing.assert_close(points.moves[0], expected, rtol=1e-5, atol=1e-9)


def test_wsam_decoupled_and_coupled_are_one_under_gradient_descent() -> None:
    ends = []
    for decoupled in (True, False):
        model, method = in_double("wsam", rho=0.3, gamma=0.8, decoupled=decoupled)
        optimizer = build_optimizer(method, lr=0.05, max_grad_norm=0.0, optimizer_class=torch.optim.SGD)
        for seed in range(3):
            step_gradients(method, model, as_batch(examples(seed=seed)))
            optimizer.step()
            optimizer.zero_grad()
        ends.append(flat(trained(model)))
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)


def test_wsam_forgets_a_correction_whose_step_was_not_taken() -> None:
    ends = []
    for left_out in (False, True):
        model, method = in_double("wsam", rho=0.3)
        assert isinstance(method, Wsam)
        optimizer = build_optimizer(method, lr=0.05, optimizer_class=torch.optim.SGD)
        if left_out:
            step_gradients(method, model, as_batch(examples(seed=9)))
            optimizer.zero_grad()
        step_gradients(method, model, as_batch(examples()))
        optimizer.step()
        ends.append(flat(trained(model)))
    assert torch.equal(*ends)


@pytest.mark.parametrize("decoupled", [True, False])
def test_wsam_refuses_scaled_losses_where_they_would_scale_its_correction(decoupled: bool) -> None:
    model, method = attached("wsam", decoupled=decoupled)
    batch = as_batch(examples(4))

    def forward_backward() -> Tensor:
        loss: Tensor = model(**batch).loss
        loss.backward()
        return loss.detach()

    window = LoopWindow(Cost(), forward_backward, method.zero_gradients)
    window.loss_scaled = True
    window.first_pass(with_example_losses=False)
    if not decoupled:
        method.refine_gradients(window)
        assert window.cost.gradients == 2
        return
    with pytest.raises(MethodError, match=r"decoupled=false does not.* fp16 .* bf16"):
        method.refine_gradients(window)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gsam", {"rho": 0.1, "rho_min": 0.2}, "option rho_min is 0.2; expected a number of at most rho, 0.1"),
        ("gsam", {"alpha": "half"}, "option alpha is 'half'; expected a finite number >= 0"),
        ("wsam", {"gamma": 1.0}, "option gamma is 1.0; expected a number in [0, 1)"),
        ("wsam", {"decoupled": "yes"}, "option decoupled is 'yes'; expected true or false"),
        ("wsam", {"sam_scope": "layer"}, "option sam_scope is 'layer'; expected one of step, rank, micro-batch"),
    ],
)
def test_bad_options_are_answered(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method(name, **options)
    assert message in str(error.value)
