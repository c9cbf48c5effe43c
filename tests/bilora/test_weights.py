"""||dW||_F of a move of the trained weights, whatever they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilora import attach
from bilora.effective import effective_change
from bilora.factors import lora_factors
from bilora.variants import variant_names
from bilora.weights import FullWeights, LoraWeights, VariantWeights, trained_weights
from tests.driving import train
from tests.tiny import tiny_llama
from tests.variants import stirred, with_variant


def changes(model: torch.nn.Module) -> Tensor:
    layers = [model.get_submodule(f.name) for f in lora_factors(model)]
    return torch.cat([effective_change(layer, "default").flatten() for layer in layers])


@pytest.mark.parametrize("name", variant_names())
def test_norm_of_a_move_is_that_of_the_effective_changes(name: str) -> None:
    model = with_variant(name, double=True)
    stirred(model)
    weights = trained_weights(model)
    assert type(weights) is (VariantWeights if name in ("dora", "hira", "delora") else LoraWeights)
    before, start = [p.detach().clone() for p in weights.parameters], changes(model)
    assert weights.displacement_norm(before) == 0
    stirred(model, scale=0.01, seed=6)
    expected = (changes(model) - start).norm()
    assert float(weights.displacement_norm(before)) == pytest.approx(float(expected), rel=1e-5)


def test_a_small_move_of_a_variant_keeps_its_digits_in_fp32() -> None:
    """LoRA-SAM at the paper's radius moves weights by a hundredth of a percent."""
    model = with_variant("dora")
    stirred(model)
    double = with_variant("dora", double=True)
    double.load_state_dict(model.state_dict())
    found = []
    for each in (model, double):
        weights = trained_weights(each)
        before = [p.detach().clone() for p in weights.parameters]
        stirred(each, scale=1e-5, seed=6)
        found.append(float(weights.displacement_norm(before)))
    assert found[0] == pytest.approx(found[1], rel=2e-2)


def test_other_trained_parameters_count_in_full() -> None:
    model = with_variant("hira")
    extra = dict(model.named_parameters())["base_model.model.lm_head.weight"].requires_grad_(True)
    weights = trained_weights(model)
    before = [p.detach().clone() for p in weights.parameters]
    with torch.no_grad():
        extra.add_(0.5)
    assert float(weights.displacement_norm(before)) == pytest.approx(0.5 * extra.numel() ** 0.5, rel=1e-6)


def test_a_plain_model_is_its_own_weights() -> None:
    weights = trained_weights(tiny_llama())
    assert type(weights) is FullWeights
    before = [p.detach() - 0.1 for p in weights.parameters]
    count = sum(p.numel() for p in weights.parameters)
    assert float(weights.displacement_norm(before)) == pytest.approx(0.1 * count**0.5, rel=1e-4)


@pytest.mark.parametrize("name", ["dora", "hira", "delora"])
def test_sam_logs_the_norm_of_the_variants_own_change(name: str) -> None:
    model, method = attach(with_variant(name), method="lora-sam", rho=0.1)
    train(method, model, steps=2)
    method.means.pop()
    start = changes(model)
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda *_: seen.append(changes(model) - start))
    train(method, model, steps=1, lr=0.0)
    assert method.means.pop()["perturbation_norm"] == pytest.approx(float(seen[-1].norm()), rel=1e-3)
    assert torch.equal(changes(model), start)
