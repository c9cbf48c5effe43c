"""Adapters whose start was taken out of the base: saved for the original base, resumed on the same residual."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor

from bilora import attach
from bilora.adapters import attach_primary
from bilora.factors import lora_factors
from bilora.residual_base import changes_base, load_primary, primary_saved, read_start, record_start, start_factors
from tests.driving import train
from tests.tiny import lora_config, tiny_llama
from tests.variants import logits, stirred

CHANGING: list[dict[str, Any]] = [
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": "olora"},
    {"init_lora_weights": "pissa", "use_rslora": True},
    {"init_lora_weights": "pissa", "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
]


def saved(model: PeftModel, folder: Path) -> Path:
    with primary_saved(model, "default"):
        model.save_pretrained(str(folder))
    return folder


def bases(model: PeftModel) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if "base_layer" in n}


@pytest.mark.parametrize("changes", CHANGING)
def test_saved_adapter_does_the_same_to_the_original_base(changes: dict[str, Any], tmp_path: Path) -> None:
    model = attach_primary(tiny_llama(), lora_config(**changes))
    stirred(model)
    trained = logits(model)
    folder = saved(model, tmp_path / "adapter")
    again = PeftModel.from_pretrained(tiny_llama(), folder)
    torch.testing.assert_close(logits(again), trained, rtol=1e-4, atol=1e-5)
    merged = again.merge_and_unload()
    torch.testing.assert_close(logits(merged), trained, rtol=1e-4, atol=1e-5)
    assert (trained - logits(tiny_llama())).abs().max() > 0.05


def test_files_are_plain_lora_of_twice_the_rank(tmp_path: Path) -> None:
    model = attach_primary(tiny_llama(), lora_config(init_lora_weights="pissa"))
    folder = saved(model, tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (8, 16, True)
    state = load_file(folder / "adapter_model.safetensors")
    assert all(t.shape[0] == 8 for name, t in state.items() if "lora_A" in name)
    assert model.peft_config["default"].r == 4
    assert "save_pretrained" not in vars(model)


def test_start_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    model = attach_primary(tiny_llama(), lora_config(init_lora_weights="pissa"))
    start = {f.name: (f.A.detach().clone(), f.B.detach().clone()) for f in lora_factors(model)}
    stirred(model)
    found = read_start(saved(model, tmp_path))
    assert len(found) == len(start) == 14
    for name, (A0, B0) in start.items():
        read_A, read_B = found[name.removeprefix("base_model.model.")]
        assert torch.equal(read_A, A0)
        assert torch.equal(read_B, B0)
        kept = start_factors(model.get_submodule(name))
        assert kept is not None
        assert torch.equal(kept[0], A0)


def test_loading_brings_back_factors_and_leaves_an_equal_base_alone(tmp_path: Path) -> None:
    model = attach_primary(tiny_llama(), lora_config(init_lora_weights="pissa"))
    stirred(model)
    folder = saved(model, tmp_path)
    fresh = attach_primary(tiny_llama(), lora_config(init_lora_weights="pissa"))
    load_primary(fresh, folder, "default")
    for before, after in ((model.state_dict(), fresh.state_dict()), (bases(model), bases(fresh))):
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_loading_moves_the_base_to_another_start(tmp_path: Path) -> None:
    """A resumed run whose own start came out otherwise goes on from the saved one."""
    model = attach_primary(tiny_llama(), lora_config(init_lora_weights="pissa"))
    stirred(model)
    trained = logits(model)
    folder = saved(model, tmp_path / "first")
    other = attach_primary(tiny_llama(), lora_config(init_lora_weights="olora"))
    load_primary(other, folder, "default")
    torch.testing.assert_close(logits(other), trained, rtol=1e-4, atol=1e-5)
    expected = bases(model)
    for name, weight in bases(other).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-6)
    again = PeftModel.from_pretrained(tiny_llama(), saved(other, tmp_path / "second"))
    torch.testing.assert_close(logits(again), trained, rtol=1e-4, atol=1e-5)


def test_bf16_base_is_reproduced_to_its_rounding(tmp_path: Path) -> None:
    model = attach_primary(tiny_llama().to(torch.bfloat16), lora_config(init_lora_weights="pissa"))
    stirred(model)
    trained = logits(model)
    again = PeftModel.from_pretrained(tiny_llama().to(torch.bfloat16), saved(model, tmp_path))
    torch.testing.assert_close(logits(again), trained, rtol=0, atol=0.03)


@pytest.mark.parametrize("method", ["lora", "lora-sam", "bilora"])
def test_every_method_exports_for_the_original_base(method: str, tmp_path: Path) -> None:
    model, trained = attach(tiny_llama(), lora_config(init_lora_weights="pissa"), method=method)
    train(trained, model, steps=3)
    trained.export(tmp_path / "adapter")
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path / "adapter")
    with trained.evaluation():
        torch.testing.assert_close(logits(again), logits(model), rtol=1e-4, atol=1e-5)


def test_which_starts_change_the_base() -> None:
    assert changes_base(LoraConfig(init_lora_weights="pissa_niter_4"))
    assert not changes_base(LoraConfig())
    assert not changes_base(LoraConfig(init_lora_weights="gaussian"))
    # DoRA's magnitudes stand on the residual too; the sum of two products is no longer what it adds.
    assert not changes_base(LoraConfig(init_lora_weights="pissa", use_dora=True))
    plain = get_peft_model(tiny_llama(), lora_config())
    assert all(start_factors(plain.get_submodule(f.name)) is None for f in lora_factors(plain))
    record_start(plain, "default")
    assert all(start_factors(plain.get_submodule(f.name)) for f in lora_factors(plain))
    assert not any("start" in name for name in plain.state_dict())


def test_a_folder_without_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors is missing"):
        read_start(tmp_path)
