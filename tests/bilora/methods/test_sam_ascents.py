from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import TrainingArguments

from bilora import SharpnessTrainer
from bilora.methods import MethodError, create_method
from tests.driving import Points, flat, gradient_at, in_double, like, present, step_gradients, trained
from tests.tiny import as_batch, attached, examples, lora_config, moved_off_zero, tiny_llama


def close(found: Tensor, expected: Tensor) -> None:
    # Norms are taken in fp32, the rest is in float64 here.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_asam_climbs_by_the_rule_to_its_declared_radius() -> None:
    model, method = in_double("asam", rho=0.4, eta=0.02)
    batch = as_batch(examples())
    points = Points(model)
    weights, g = flat(trained(model)), flat(gradient_at(model, batch))
    step_gradients(method, model, batch, seen=points)
    T = weights.abs() + 0.02
    expected = 0.4 * T**2 * g / (T * g).norm()
    close(points.moves[1], expected)
    assert (points.moves[1] / T).norm().item() == pytest.approx(0.4, rel=1e-5)
    close(flat(present(model)), flat(gradient_at(model, batch, like(expected, trained(model)))))
    assert method.cost.gradients == 2


def test_asam_with_a_large_eta_is_sam() -> None:
    """T tends to eta times the identity, and eps to rho eta g / ||g||."""
    batch, found = as_batch(examples()), []
    for name, options in (("asam", {"rho": 0.3e-6, "eta": 1e6}), ("lora-sam", {"rho": 0.3})):
        model, method = in_double(name, **options)
        step_gradients(method, model, batch)
        found.append(flat(present(model)))
    close(*found)


def test_asam_without_eta_does_not_see_how_a_product_is_split() -> None:
    """Its adversary moves (c A, B / c) to the same product as (A, B); SAM's does not."""
    batch, norms = as_batch(examples()), {}
    for name, options in (("asam", {"rho": 0.4, "eta": 0.0}), ("lora-sam", {"rho": 0.4})):
        for c in (1.0, 8.0):
            model, method = in_double(name, **options)
            with torch.no_grad():
                for factors in method.weights.factors:  # type: ignore[attr-defined]
                    factors.A.mul_(c)
                    factors.B.div_(c)
            step_gradients(method, model, batch)
            norms[name, c] = method.means.pop()["perturbation_norm"]
    assert norms["asam", 8.0] == pytest.approx(norms["asam", 1.0], rel=1e-5)
    assert norms["lora-sam", 8.0] > 1.5 * norms["lora-sam", 1.0]


@pytest.mark.parametrize(("eta", "moves"), [(0.0, False), (0.01, True)])
def test_asam_leaves_a_factor_at_zero_unless_eta_moves_it(eta: float, moves: bool) -> None:
    model, method = attached("asam", rho=0.5, eta=eta)
    moved = []

    def seen(kept: Tensor | None) -> None:
        moved.append(any(p.abs().max() > 0 for n, p in model.named_parameters() if "lora_B" in n))

    step_gradients(method, model, as_batch(examples()), seen=seen)
    assert moved == [False, moves]


@pytest.mark.parametrize("average", ["current", "previous"])
def test_fsam_climbs_against_the_average_of_gradients(average: str) -> None:
    model, method = in_double("fsam", rho=0.2, sigma=0.8, decay=0.7, average=average)
    m = torch.zeros_like(flat(trained(model)))
    for step in range(4):
        batch, points = as_batch(examples(seed=step)), Points(model)
        g = flat(gradient_at(model, batch))
        if average == "current":
            m = 0.7 * m + 0.3 * g
            direction = g - 0.8 * m
        else:
            direction = g - 0.8 * m
            m = g if step == 0 else 0.7 * m + 0.3 * g
        expected = 0.2 * direction / direction.norm()
        step_gradients(method, model, batch, seen=points)
        close(points.moves[1], expected)
        close(flat(present(model)), flat(gradient_at(model, batch, like(expected, trained(model)))))
        model.zero_grad()


def test_fsam_has_no_direction_where_the_average_is_the_gradient() -> None:
    """sigma = 1 and no memory: g - m is 0, and so is the step."""
    model, method = attached("fsam", rho=0.2, sigma=1.0, decay=0.0)
    moved_off_zero(model)
    batch, points = as_batch(examples()), Points(model)
    step_gradients(method, model, batch, seen=points)
    assert points.moves[1].norm() == 0
    assert method.means.pop()["perturbation_norm"] == 0


def test_fsam_refuses_the_scaled_losses_of_fp16_training(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), max_steps=1, report_to=[], use_cpu=True, disable_tqdm=True)
    run = SharpnessTrainer(
        tiny_llama(),
        arguments,
        method="fsam",
        peft_config=lora_config(),
        train_dataset=examples(8),
        data_collator=as_batch,
    )
    run.accelerator.scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(MethodError, match=r"averages gradients over steps, but fp16 training scales .* bf16"):
        run.train()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("asam", {"eta": -0.1}, "option eta is -0.1; expected a finite number >= 0"),
        ("asam", {"etta": 0.1}, "has no option 'etta', did you mean 'eta'?"),
        ("fsam", {"decay": 1.0}, "option decay is 1.0; expected a number in [0, 1)"),
        ("fsam", {"decay": True}, "option decay is True; expected a number in [0, 1)"),
        ("fsam", {"average": "last"}, "option average is 'last'; expected one of current, previous"),
    ],
)
def test_bad_options_are_answered(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method(name, **options)
    assert message in str(error.value)
