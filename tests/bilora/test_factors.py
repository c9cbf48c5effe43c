from __future__ import annotations

from typing import Any

import pytest
import torch

from bilora.factors import lora_factors
from tests.tiny import attached, moved_off_zero, tiny_llama
from tests.variants import with_variant


def test_scaling_times_product_is_the_change_that_peft_merges() -> None:
    model, _ = attached("lora")
    moved_off_zero(model)
    found = lora_factors(model)
    assert [f.name for f in found] == [n for n, m in model.named_modules() if hasattr(m, "lora_A")]
    for factors in found:
        layer: Any = model.get_submodule(factors.name)
        torch.testing.assert_close(factors.scaling * factors.B @ factors.A, layer.get_delta_weight("default"))


@pytest.mark.parametrize("name", ["hira", "delora"])
def test_variants_without_a_scaling_are_listed_too(name: str) -> None:
    model = with_variant(name)
    found = lora_factors(model)
    live = {id(parameter) for parameter in model.parameters()}
    assert {factors.scaling for factors in found} == {1.0}
    assert all(id(factors.A) in live and id(factors.B) in live for factors in found)


def test_a_model_without_the_adapter_is_refused() -> None:
    with pytest.raises(ValueError, match="no LoRA layer of the model carries an adapter named 'default'"):
        lora_factors(tiny_llama())
    with pytest.raises(ValueError, match="'other'"):
        lora_factors(attached("lora")[0], "other")
