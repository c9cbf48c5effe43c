from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from peft import get_peft_model

from bilora.adapters import AUXILIARY, AdapterPair
from bilora.factors import lora_factors
from tests.tiny import as_batch, attached, examples, lora_config, moved_off_zero, tiny_llama


def test_both_adapters_train_and_the_base_does_not() -> None:
    model, _ = attached("bilora")
    model(**as_batch(examples())).loss.backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if "lora_" in name}
    assert all(p.grad is not None for n, p in model.named_parameters() if n in trained)


def test_auxiliary_off_gives_the_primary_alone_and_comes_back() -> None:
    model, method = attached("bilora")
    moved_off_zero(model)
    batch = as_batch(examples())
    model.eval()
    with torch.no_grad():
        both = model(**batch).logits
        with method.evaluation():
            alone = model(**batch).logits
        again = model(**batch).logits
        for factors in lora_factors(model, AUXILIARY):
            factors.B.zero_()
        without = model(**batch).logits
    assert not torch.equal(both, alone)
    assert torch.equal(both, again)
    torch.testing.assert_close(alone, without, rtol=0, atol=0)
    assert all(p.requires_grad for n, p in model.named_parameters() if "lora_" in n)


def test_auxiliary_leaves_the_global_random_stream_alone() -> None:
    model = get_peft_model(tiny_llama(), lora_config())
    before = torch.get_rng_state()
    AdapterPair(model)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rank", [1, 6])
def test_auxiliary_of_another_rank_keeps_the_scaling(rank: int) -> None:
    pair = AdapterPair(get_peft_model(tiny_llama(), lora_config()), auxiliary_rank=rank)
    assert {f.A.shape[0] for f in pair.auxiliary} == {rank}
    assert {f.scaling for f in pair.auxiliary} == {f.scaling for f in pair.primary} == {2.0}


@pytest.mark.parametrize(
    "config", [{"use_rslora": True}, {"alpha_pattern": {"q_proj": 1}}, {"rank_pattern": {"q_proj": 2}}]
)
def test_auxiliary_takes_the_primarys_scaling_layer_by_layer(config: dict[str, Any]) -> None:
    pair = AdapterPair(get_peft_model(tiny_llama(), lora_config(**config)))
    assert [f.scaling for f in pair.auxiliary] == [f.scaling for f in pair.primary]


def test_evaluation_nests() -> None:
    model, method = attached("bilora")
    with method.evaluation():
        with method.evaluation():
            pass
        assert model.active_adapters == ["default"]
    assert model.active_adapters == ["default", AUXILIARY]


def test_exported_adapter_loads_where_only_peft_is_imported(tmp_path) -> None:
    model, method = attached("bilora")
    moved_off_zero(model)
    method.export(tmp_path / "adapter")
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    tiny_llama().save_pretrained(tmp_path / "base")
    batch = as_batch(examples())
    torch.save(batch["input_ids"], tmp_path / "ids.pt")
    program = f"""
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained({str(tmp_path / "base")!r})
model = PeftModel.from_pretrained(base, {str(tmp_path / "adapter")!r}).eval()
with torch.no_grad():
    torch.save(model(input_ids=torch.load({str(tmp_path / "ids.pt")!r})).logits, {str(tmp_path / "logits.pt")!r})
assert "bilora" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    model.eval()
    with torch.no_grad(), method.evaluation():
        expected = model(input_ids=batch["input_ids"]).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, rtol=1e-5, atol=1e-6)


def test_clear_errors_for_models_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"such as peft\.LoraConfig"):
        attached("lora")[1].attach(tiny_llama(), None)
    model, _ = attached("bilora")
    with pytest.raises(ValueError, match="already has an adapter named 'auxiliary'"):
        AdapterPair(model)
