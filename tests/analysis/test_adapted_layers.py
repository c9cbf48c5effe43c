from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from analysis import SpaceError
from analysis.spaces import adapted_layers


def test_layers_carry_name_matrices_and_scaling(tiny_lora) -> None:
    model = tiny_lora()
    layers = adapted_layers(model)
    assert [layer.name.rsplit(".", 1)[1] for layer in layers] == ["q_proj", "v_proj", "down_proj"]
    down = layers[-1]
    module = model.get_submodule(down.name)
    assert down.weight is module.base_layer.weight
    assert down.A.shape == (2, 12)
    assert down.B.shape == (8, 2)
    assert down.scaling == 1.5
    merged = module.base_layer.weight + module.get_delta_weight("default")
    torch.testing.assert_close(down.weight + down.scaling * down.B @ down.A, merged)


def test_row_norms_are_those_of_the_merged_matrix(tiny_lora) -> None:
    for layer in adapted_layers(tiny_lora()):
        merged = layer.weight + layer.scaling * layer.B @ layer.A
        torch.testing.assert_close(layer.row_norms(), merged.norm(dim=1), rtol=1e-12, atol=0.0)


def test_a_model_without_adapters_has_none(tiny_llama) -> None:
    assert adapted_layers(tiny_llama()) == []


def test_an_inactive_second_adapter_is_ignored_and_an_active_one_refused_unless_it_is_the_auxiliary(tiny_lora) -> None:
    model = tiny_lora()
    model.add_adapter("auxiliary", LoraConfig(r=2, target_modules=["q_proj"]))
    assert len(adapted_layers(model)) == 3
    model.base_model.set_adapter(["default", "auxiliary"])
    first, *rest = adapted_layers(model)
    module = model.get_submodule(first.name)
    assert first.A is module.lora_A["default"].weight
    assert first.others[0][0] is module.lora_A["auxiliary"].weight
    assert not any(layer.others for layer in rest)
    model.base_model.set_adapter("auxiliary")
    assert [layer.name.rsplit(".", 1)[1] for layer in adapted_layers(model)] == ["q_proj"]


def test_merged_and_disabled_adapters_are_refused(tiny_lora) -> None:
    model = tiny_lora()
    with model.disable_adapter(), pytest.raises(SpaceError, match="is disabled"):
        adapted_layers(model)
    model.merge_adapter()
    with pytest.raises(SpaceError, match="is merged"):
        adapted_layers(model)


def test_dora_is_refused_by_name(tiny_lora) -> None:
    with pytest.raises(SpaceError, match="uses DoraLinearVariant"):
        adapted_layers(tiny_lora(config={"use_dora": True}))


def test_embeddings_are_refused(tiny_lora) -> None:
    with pytest.raises(SpaceError, match="embed_tokens is an adapted embedding"):
        adapted_layers(tiny_lora(targets=["embed_tokens"]))


def test_tied_weights_are_refused(tiny_lora) -> None:
    with (
        pytest.warns(UserWarning, match="tie_word_embeddings"),
        pytest.raises(SpaceError, match="lm_head is tied to another module"),
    ):
        adapted_layers(tiny_lora(targets=["lm_head"], tied=True))


def test_two_active_adapters_of_unknown_roles_are_refused(tiny_lora) -> None:
    model = tiny_lora()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"]))
    model.base_model.set_adapter(["default", "second"])
    with pytest.raises(SpaceError, match=r"q_proj has 2 active adapters \(default, second\); expected one"):
        adapted_layers(model)
    assert len(adapted_layers(model, adapter="second")) == 1
