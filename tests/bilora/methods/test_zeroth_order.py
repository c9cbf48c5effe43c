from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainingArguments

from bilora import Method, SharpnessTrainer
from bilora.methods import AdaZoSam, MethodError, create_method
from bilora.methods.window import LoopWindow
from tests.driving import Points, flat, gradient_at, in_double, like, present, step_gradients, train, trained
from tests.tiny import as_batch, attached, examples, lora_config, primary_state, tiny_llama

BATCH = as_batch(examples())


def estimate(method: Method, model: Any) -> Tensor:
    assert isinstance(method, AdaZoSam)
    window = LoopWindow(method.cost, lambda: torch.zeros(()), lambda: None, loss=lambda: model(**BATCH).loss)
    return flat(method.estimate(window))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def test_many_probes_find_the_gradient() -> None:
    """The estimate is unbiased: its mean is the gradient, and its cosine to it near sqrt(q / (q + d + 1))."""
    model, method = in_double("adazo-sam", probes=300, mu=1e-4)
    gradient = flat(gradient_at(model, BATCH))
    found = estimate(method, model)
    d = gradient.numel()
    assert cosine(found, gradient) == pytest.approx((300 / (300 + d + 1)) ** 0.5, abs=0.06)
    # <ghat, g> has mean ||g||^2 and a relative standard error of sqrt(2 / q).
    assert float(found @ gradient / gradient.square().sum()) == pytest.approx(1, abs=4 * (2 / 300) ** 0.5)
    assert method.cost.forwards == 600


@pytest.mark.parametrize("probes", [1, 30])
def test_the_step_climbs_on_its_batch_with_the_declared_radius(probes: int) -> None:
    model, method = in_double("adazo-sam", probes=probes, rho=0.05)
    losses = [model(**BATCH).loss.item()]
    points = Points(model)

    def seen(kept: Tensor | None) -> None:
        points(kept)
        losses.append(model(**BATCH).loss.item())

    for _ in range(4):
        step_gradients(method, model, BATCH, seen=seen)
        method.steps += 1  # other probes
    assert all(move.norm().item() == pytest.approx(0.05, rel=1e-6) for move in points.moves)
    gradient = flat(gradient_at(model, BATCH))
    assert all(float(move @ gradient) > 0 for move in points.moves)
    assert sum(losses[1:]) / 4 > losses[0]


def test_one_probe_is_a_random_direction_with_the_climbing_sign() -> None:
    """(g . u) u: it climbs whichever way u points, and carries the slope along u."""
    model, method = in_double("adazo-sam")
    gradient = flat(gradient_at(model, BATCH))
    directions = []
    for _ in range(6):
        directions.append(estimate(method, model))
        method.steps += 1
    assert all(float(direction @ gradient) > 0 for direction in directions)
    # In 1856 dimensions the cosine of random directions is around 0.023.
    assert max(abs(cosine(a, b)) for i, a in enumerate(directions) for b in directions[:i]) < 0.12
    assert all(abs(cosine(direction, gradient)) < 0.12 for direction in directions)
    for direction in directions:
        probe = direction / (direction.norm() / gradient.numel() ** 0.5)  # of norm sqrt(d), as u is to a few percent
        torch.testing.assert_close(direction, (gradient @ probe) * probe, rtol=0.1, atol=1e-6)


def test_a_step_is_the_gradient_at_the_perturbed_point() -> None:
    model, method = in_double("adazo-sam", rho=0.1, probes=3)
    points = Points(model)
    step_gradients(method, model, BATCH, seen=points)
    found = present(model)
    assert method.cost.gradients == 1
    assert method.cost.forwards == 6
    expected = gradient_at(model, BATCH, like(points.moves[0], trained(model)))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-12)


def test_probes_and_gradient_see_one_batch_and_one_set_of_dropout_masks(tmp_path: Path) -> None:
    """At rho = 0 the step is LoRA's, whose masks are those of the stream; with mu -> 0 probes measure its own loss."""
    states, losses = [], []
    for name, options in (("lora", {}), ("adazo-sam", {"rho": 0.0, "probes": 2, "mu": 1e-30})):
        model = tiny_llama()
        torch.manual_seed(3)
        run = SharpnessTrainer(
            model,
            TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=2,
                gradient_accumulation_steps=4,
                max_steps=3,
                learning_rate=1e-2,
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                save_strategy="no",
                logging_steps=1,
            ),
            method=name,
            method_options=options,
            peft_config=lora_config(lora_dropout=0.3),
            train_dataset=examples(24),
            data_collator=as_batch,
        )
        probed: list[float] = []
        if isinstance(run.method, AdaZoSam):
            watch(run.method, probed)
        run.train()
        states.append(primary_state(run.model))
        losses.append([entry["loss"] for entry in run.state.log_history if "loss" in entry])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert len(probed) == 3 * 4
    expected = [loss for loss in losses[0] for _ in range(4)]
    assert probed == pytest.approx(expected, abs=1e-3)
    assert len(set(probed)) == 3


def watch(method: AdaZoSam, probed: list[float]) -> None:
    inner = method.before_backward

    def before_backward(window: Any) -> None:
        loss = window.loss

        def recorded() -> Tensor:
            value: Tensor = loss()
            probed.append(float(value))
            return value

        window.loss = recorded
        inner(window)

    method.before_backward = before_backward  # type: ignore[method-assign]


def test_rho_zero_is_lora_bit_for_bit() -> None:
    states = []
    for name, options in (("lora", {}), ("adazo-sam", {"rho": 0.0})):
        model, method = attached(name, dropout=0.2, **options)
        torch.manual_seed(11)
        train(method, model, steps=3)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_batches_that_nobody_announced_cannot_be_probed(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    run = SharpnessTrainer(tiny_llama(), args, method="adazo-sam", peft_config=lora_config(), data_collator=as_batch)
    run.create_optimizer()
    with pytest.raises(MethodError, match="micro-batches of the step in advance"):
        run.training_step(run.model, BATCH)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": 0}, "option probes is 0; expected an integer >= 1"),
        ({"mu": 0.0}, "option mu is 0.0; expected a number in (0, inf)"),
        ({"q": 3}, "has no option 'q'"),
    ],
)
def test_bad_options_are_answered(options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method("adazo-sam", **options)
    assert message in str(error.value)
