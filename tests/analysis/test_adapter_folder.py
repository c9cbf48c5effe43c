from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from analysis import AnalysisError
from analysis.adapter_folder import check_adapter_folder

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(
        {"m.lora_A.weight": torch.zeros(2, 8), "m.lora_B.weight": torch.zeros(6, 2)},
        tmp_path / "adapter_model.safetensors",
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_a_good_folder_says_what_it_holds(folder: Path) -> None:
    found = check_adapter_folder(folder)
    assert found.config["r"] == 2
    assert found.shapes == {"m.lora_A.weight": (2, 8), "m.lora_B.weight": (6, 2)}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"peft_type": "XLORA"}, "adapter of type 'XLORA'; expected one whose weights are all in its folder"),
        ({"peft_type": "PROMPT_TUNING"}, "adapter of type 'PROMPT_TUNING'"),
        ({"peft_type": None}, "adapter of type None"),
        ({"peft_type": ["LORA"]}, "adapter of type"),
        ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "imports the Python module that it names"),
        ({"layer_replication": [[0, 10**9]]}, "copies layers of the base"),
        ({"r": 10**12}, "says rank 1000000000000; its weights have room for 2"),
        ({"r": True}, "says rank True"),
        ({"r": -1}, "says rank -1"),
        ({"rank_pattern": {"q_proj": 10**9}}, "says rank 1000000000"),
    ],
)
def test_what_no_adapter_needs_is_refused(folder: Path, changes: dict[str, Any], why: str) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(AnalysisError, match=why):
        check_adapter_folder(folder)


def test_folders_that_are_none_are_refused(folder: Path) -> None:
    with pytest.raises(AnalysisError, match=r"nowhere is not a folder"):
        check_adapter_folder(folder / "nowhere")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(AnalysisError, match=r"adapter_model.bin holds its weights as a pickle"):
        check_adapter_folder(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(AnalysisError, match=r"holds no adapter_model.safetensors"):
        check_adapter_folder(folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(AnalysisError, match=r"holds no adapter_config.json"):
        check_adapter_folder(folder)
