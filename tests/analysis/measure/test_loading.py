from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from analysis.errors import AnalysisError
from analysis.measure.loading import LoadedModel, load
from tests.models import save_tiny_model

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("loading") / "base")


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    folder = base.with_name("adapter")
    get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"])).save_pretrained(folder)
    return folder


def loaded(model: Path, adapter: Path | None = None) -> LoadedModel:
    return load(str(model), None if adapter is None else str(adapter), dtype=torch.float32, device=torch.device("cpu"))


def test_the_factors_of_an_auxiliary_are_loaded_and_off(base: Path, adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    auxiliary = {f"{LAYER}.A": torch.randn(3, 16), f"{LAYER}.B": torch.randn(16, 3)}
    save_file(auxiliary, folder / "method_state.safetensors")
    found = loaded(base, folder)
    assert found.auxiliary
    layer: Any = found.model.get_submodule(LAYER)
    torch.testing.assert_close(layer.lora_A["auxiliary"].weight.data, auxiliary[f"{LAYER}.A"])
    torch.testing.assert_close(layer.lora_B["auxiliary"].weight.data, auxiliary[f"{LAYER}.B"])
    assert layer.active_adapters == ["default"]
    assert not loaded(base, adapter).auxiliary


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({f"{LAYER}.B": torch.zeros(16, 3)}, "no factor A"),
        ({f"{LAYER}.A": torch.zeros(()), f"{LAYER}.B": torch.zeros(16, 3)}, r"q_proj\.A has shape \(\)"),
        ({f"{LAYER}.A": torch.zeros(3, 16), f"{LAYER}.B": torch.zeros(16, 4)}, r"q_proj\.B has shape \(16, 4\)"),
        ({"nowhere.A": torch.zeros(3, 16)}, "holds factors of nowhere, which the model does not adapt"),
        ({"base_model.model.A": torch.zeros(3, 16)}, "holds factors of base_model.model, which the model does not"),
        ({f"{LAYER}.base_layer.A": torch.zeros(3, 16)}, "holds factors of .*base_layer, which the model does not"),
    ],
)
def test_an_auxiliary_of_another_model_is_refused_in_one_line(
    base: Path, adapter: Path, tmp_path: Path, state: dict[str, torch.Tensor], message: str
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    save_file(state, folder / "method_state.safetensors")
    with pytest.raises(AnalysisError, match=message) as error:
        loaded(base, folder)
    assert str(error.value).startswith("--adapter: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values", [{"hidden_size": "many"}, {"hidden_size": -16}, {"architectures": 5}, {"model_type": ["llama"]}]
)
def test_values_that_no_model_can_have_are_refused_in_one_line(
    base: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(AnalysisError, match=f"^--model: {folder} cannot be loaded: ") as error:
        loaded(folder)
    assert "\n" not in str(error.value)


def test_an_adapter_whose_configuration_has_a_wrong_value_is_refused_in_one_line(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task_type": 5}))
    with pytest.raises(AnalysisError, match=f"^--adapter: {folder} does not fit the base model: ") as error:
        loaded(base, folder)
    assert "\n" not in str(error.value)


def test_an_adapter_of_a_wider_base_names_one_matrix_and_both_shapes(base: Path, adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: value.repeat(1, 2) for name, value in weights.items()}, folder / "adapter_model.safetensors")
    expected = (
        f"--adapter: {folder} does not fit the base model: model.layers.0.self_attn.q_proj.lora_A.weight has the "
        "shape [2, 32], and this base needs [2, 16]; name the adapter's own base with --model"
    )
    with pytest.raises(AnalysisError) as error:
        loaded(base, folder)
    assert str(error.value) == expected
