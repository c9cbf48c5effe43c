from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bilora.methods import MethodError, create_method
from tests.tiny import attached, lora_config, moved_off_zero, tiny_llama


def test_a_method_without_a_model_says_so() -> None:
    with pytest.raises(MethodError, match="method 'bilora' is not attached to a model yet; call attach first"):
        create_method("bilora").trained_parameters()


def test_a_quantised_base_is_refused_with_the_reason() -> None:
    model = tiny_llama()
    model.is_quantized = True
    method = create_method("flat-lora")
    with pytest.raises(MethodError, match="'flat-lora' does not run on a quantised base: its noise"):
        method.attach(model, lora_config())


def test_what_was_exported_is_loaded_into_the_live_parameters(tmp_path: Path) -> None:
    model, method = attached("bilora")
    moved_off_zero(model)
    method.export(tmp_path)
    live = method.weights.parameters
    before = [parameter.detach().clone() for parameter in live]
    assert not [name for name in load_file(tmp_path / "adapter_model.safetensors") if "auxiliary" in name]
    with torch.no_grad():
        for parameter in live:
            parameter.zero_()
    method.load_adapter(tmp_path)
    assert all(torch.equal(parameter, value) for parameter, value in zip(live, before, strict=True))


def test_gradients_of_all_that_is_trained_are_dropped() -> None:
    _, method = attached("bilora")
    for parameter in method.trained_parameters():
        parameter.grad = torch.ones_like(parameter)
    assert len(method.trained_parameters()) == 2 * len(method.weights.parameters)
    method.zero_gradients()
    assert all(parameter.grad is None for parameter in method.trained_parameters())
