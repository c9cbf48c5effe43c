"""One formula for the weight change of every variant, against PEFT's own merge."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from bilora.effective import adapted_layers, base_weight, effective_change
from bilora.factors import lora_factors
from bilora.residual_base import start_factors
from bilora.variants import variant_names
from tests.tiny import tiny_llama
from tests.variants import stirred, with_variant


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("name", variant_names())
def test_change_is_what_merging_adds(name: str, double: bool) -> None:
    model = with_variant(name, double=double)
    stirred(model)
    layers = {f.name: model.get_submodule(f.name) for f in lora_factors(model)}
    before = {n: layer.get_base_layer().weight.detach().clone() for n, layer in layers.items()}
    found = {n: effective_change(layer, "default") for n, layer in layers.items()}
    merged = copy.deepcopy(model).merge_and_unload()
    for layer_name, change in found.items():
        after = merged.get_submodule(layer_name.removeprefix("base_model.model.")).weight
        expected = after.detach() - before[layer_name]
        assert change.dtype == (torch.float64 if double else torch.float32)
        assert expected.norm() > 1e-3
        torch.testing.assert_close(change, expected, rtol=1e-10 if double else 1e-4, atol=1e-12 if double else 1e-7)


@pytest.mark.parametrize("name", ["pissa", "lora-ga"])
def test_change_of_a_changed_base_is_relative_to_the_original_weight(name: str) -> None:
    model, original = with_variant(name), tiny_llama()
    layers = {f.name: model.get_submodule(f.name) for f in lora_factors(model)}
    for layer in layers.values():
        start = start_factors(layer)
        torch.testing.assert_close(effective_change(layer, "default", start=start).abs().max(), torch.zeros(()))
        assert effective_change(layer, "default").norm() > 1e-2
    stirred(model)
    merged = copy.deepcopy(model).merge_and_unload()
    for layer_name, layer in layers.items():
        plain = layer_name.removeprefix("base_model.model.")
        expected = merged.get_submodule(plain).weight - original.get_submodule(plain).weight
        change = effective_change(layer, "default", start=start_factors(layer))
        torch.testing.assert_close(change, expected.detach(), rtol=1e-4, atol=1e-6)


def test_layers_that_store_the_transpose() -> None:
    """GPT-2's layers keep (in, out); the change is (out, in) all the same."""
    torch.manual_seed(0)
    plain = nn.Sequential(Conv1D(6, 9))
    model = get_peft_model(plain, LoraConfig(r=2, target_modules=["0"], fan_in_fan_out=True, use_dora=True))
    stirred(model)
    layer = model.get_submodule(lora_factors(model)[0].name)
    before = base_weight(layer).clone()
    change = effective_change(layer, "default")
    merged = copy.deepcopy(model).merge_and_unload()[0].weight.T.detach()
    assert change.shape == (6, 9)
    torch.testing.assert_close(change, merged - before, rtol=1e-5, atol=1e-6)


def test_change_at_earlier_values_of_the_parameters() -> None:
    model = with_variant("dora", double=True)
    stirred(model)
    layer = adapted_layers(model, "default")[0]
    kept = [p.detach().clone() for p in layer.parameters]
    there = layer.change()
    stirred(model, seed=6)
    assert not torch.allclose(layer.change(), there)
    assert torch.equal(layer.change(kept), there)


def test_bf16_factors_give_an_fp32_change() -> None:
    model = with_variant("lora").to(torch.bfloat16)
    stirred(model)
    layer = model.get_submodule(lora_factors(model)[0].name)
    factors = lora_factors(model)[0]
    expected = 2.0 * (factors.B.double() @ factors.A.double())
    torch.testing.assert_close(effective_change(layer, "default").double(), expected, rtol=1e-5, atol=1e-8)


def test_refuses_what_has_no_formula() -> None:
    model = with_variant("lora")
    layer = model.get_submodule(lora_factors(model)[0].name)
    with pytest.raises(ValueError, match=r"adapter 'other' in a layer of type Linear; expected a linear layer of PEFT"):
        effective_change(layer, "other")
    with pytest.raises(ValueError, match="type Conv2d"):
        effective_change(nn.Conv2d(2, 2, 1), "default")
    convolution = get_peft_model(nn.Sequential(nn.Conv2d(2, 3, 1)), LoraConfig(r=1, target_modules=["0"]))
    with pytest.raises(ValueError, match="type Conv2d"):
        effective_change(convolution.base_model.model[0], "default")
    hira = with_variant("hira")
    start = torch.ones(1, 1), torch.ones(1, 1)
    with pytest.raises(ValueError, match="base was not changed"):
        effective_change(hira.get_submodule(lora_factors(hira)[0].name), "default", start=start)
