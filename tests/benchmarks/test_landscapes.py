"""What `--landscape` stores, against a step taken by hand and against the slices, and the model left as it was."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from analysis import FlatnessSettings, Objective, parameter_space, slices, symmetric_alphas
from benchmarks.landscapes import KINDS, measure_landscapes
from tests.tiny import VOCABULARY, tiny_llama

SETTINGS = FlatnessSettings(spaces=("full", "lora"))


@pytest.fixture(scope="module")
def model() -> PeftModel:
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.double().eval()


@pytest.fixture(scope="module")
def objective(model: PeftModel) -> Objective:
    torch.manual_seed(2)
    tokens = torch.randint(1, VOCABULARY, (3, 9))
    return Objective(model, [{"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens}])


def test_robustness_is_the_loss_after_a_step_along_the_gradient(model: PeftModel, objective: Objective) -> None:
    scored: list[float] = []

    def score(_: torch.nn.Module) -> float:
        scored.append(len(scored) / 10)
        return scored[-1]

    found = measure_landscapes(objective, model, SETTINGS, kinds=("robustness",), score=score, examples=7)
    assert list(found) == ["full", "lora"]
    record = found["full"]["robustness"]
    assert record["alphas"] == (0.0, 0.5, 1.0, 2.5, 4.0, 5.0)
    assert record["examples"] == 7
    assert [*record["metrics"], *found["lora"]["robustness"]["metrics"]] == scored
    weights = [m.base_layer.weight for m in model.modules() if hasattr(m, "base_layer")]
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    batch = objective.batches[0]
    gradients = torch.autograd.grad(model(**batch).loss, weights)
    length = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    with torch.no_grad():
        for alpha, loss in zip(record["alphas"], record["losses"], strict=True):
            for weight, start, gradient in zip(weights, before, gradients, strict=True):
                weight.copy_(start + alpha * gradient / length)
            assert float(model(**batch).loss) == pytest.approx(loss, rel=1e-6)  # norms are taken in float32
        for weight, start in zip(weights, before, strict=True):
            weight.copy_(start).requires_grad_(False)


def test_a_plane_holds_the_slices_on_its_axes(model: PeftModel, objective: Objective) -> None:
    record = measure_landscapes(objective, model, SETTINGS, kinds=("surface",))["lora"]["plane"]
    alphas = symmetric_alphas(SETTINGS.slice_extent, 13)
    assert record["alphas"] == record["betas"] == alphas
    cuts = slices(objective, parameter_space(model, "lora"), alphas=alphas, directions=2, seed=SETTINGS.seed)
    losses = np.array(record["losses"])
    np.testing.assert_allclose(losses[:, 6], cuts.losses[0], rtol=1e-9)
    np.testing.assert_allclose(losses[6], cuts.losses[1], rtol=1e-9)


def test_a_density_integrates_to_one_and_keeps_no_quadrature(model: PeftModel, objective: Objective) -> None:
    record = measure_landscapes(objective, model, SETTINGS, kinds=("density",))["full"]["density"]
    assert np.trapezoid(record["density"], record["grid"]) == pytest.approx(1.0, abs=1e-2)
    assert not {"nodes", "weights", "cumulative"} & set(record)
    assert len(record["grid"]) == 256


def test_the_record_is_json_and_the_weights_are_untouched(model: PeftModel, objective: Objective) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = replace(SETTINGS, spaces=("lora",))
    found = measure_landscapes(objective, model, settings, kinds=tuple(KINDS))
    assert set(json.loads(json.dumps(found, allow_nan=False))["lora"]) == {"robustness", "density", "plane"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_taken_leaves_its_reason_and_does_not_cost_the_rest(
    model: PeftModel, objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis import DirectionError

    def refuse(*arguments: object, **options: object) -> None:
        raise DirectionError("the gradient is zero in the lora space, so there is nothing to follow")

    monkeypatch.setattr("benchmarks.landscapes.robustness_curve", refuse)
    settings = replace(SETTINGS, spaces=("lora",))
    found = measure_landscapes(objective, model, settings, kinds=("robustness", "surface"))["lora"]
    assert found["robustness"] == {"problem": "the gradient is zero in the lora space, so there is nothing to follow"}
    assert len(found["plane"]["losses"]) == 13


def test_what_fails_while_scoring_costs_that_curve_alone(model: PeftModel, objective: Objective) -> None:
    def score(_: torch.nn.Module) -> float:
        raise RuntimeError("no room\nfor answers")

    weights = [parameter.detach().clone() for parameter in model.parameters()]
    found = measure_landscapes(objective, model, SETTINGS, kinds=("robustness", "surface"), score=score)
    assert found["full"]["robustness"] == {"problem": "no room for answers"}
    assert len(found["full"]["plane"]["losses"]) > 1
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
