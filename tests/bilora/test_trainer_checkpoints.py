from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bilora.trainer_checkpoints import refuse_pickled_weights
from tests.trainers import state, trainer

METHODS = ["lora", "lora-sam", "bilora"]


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_equals_an_uninterrupted_one(method: str, tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine", "dropout": 0.1}
    whole = trainer(tmp_path / "whole", method, **settings)
    whole.train()
    shutil.copytree(tmp_path / "whole" / "checkpoint-4", tmp_path / "again" / "checkpoint-4")
    resumed = trainer(tmp_path / "again", method, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-4"))
    expected = state(whole)
    found = state(resumed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert resumed.method.cost.gradients == whole.method.cost.gradients


def test_checkpoints_hold_a_plain_adapter_and_the_methods_state_apart(tmp_path: Path) -> None:
    run = trainer(tmp_path, "bilora", save_strategy="steps", save_steps=6)
    run.train()
    checkpoint = tmp_path / "checkpoint-6"
    weights = load_file(checkpoint / "adapter_model.safetensors")
    assert not any("auxiliary" in name for name in weights)
    assert not (checkpoint / "auxiliary").exists()
    assert any(name.endswith(".B") for name in load_file(checkpoint / "method_state.safetensors"))
    assert json.loads((checkpoint / "adapter_config.json").read_text())["r"] == 4


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    run = trainer(tmp_path / "a", "bilora", save_strategy="steps", save_steps=3)
    run.train()
    (tmp_path / "a" / "checkpoint-3" / "method_state.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no state of method 'bilora'"):
        trainer(tmp_path / "b", "bilora").train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    lora = trainer(tmp_path / "c", "lora", save_strategy="steps", save_steps=3)
    lora.train()
    with pytest.raises(ValueError, match="auxiliary factor"):
        trainer(tmp_path / "d", "bilora").train(resume_from_checkpoint=str(tmp_path / "c" / "checkpoint-3"))


def test_weights_in_a_pickle_are_refused_unless_safetensors_lie_beside_them(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pytorch_model-00001-of-00002\.bin holds its weights as a pickle"):
        refuse_pickled_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    refuse_pickled_weights(tmp_path)
