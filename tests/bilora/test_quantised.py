"""Methods and variants on an NF4 base, with bitsandbytes on the CPU."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BitsAndBytesConfig, TrainingArguments

from bilora import MethodError, SharpnessTrainer, attach
from bilora.effective import base_weight, effective_change
from bilora.factors import lora_factors
from bilora.quantised import load_nf4
from bilora.variants import VariantError, create_variant, resolve_name
from tests.driving import train
from tests.tiny import as_batch, examples, tiny_llama
from tests.variants import stirred


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("bitsandbytes")
    path = tmp_path_factory.mktemp("base")
    tiny_llama().save_pretrained(path)
    return path


def on_nf4(folder: Path, name: str, **options: Any) -> tuple[Any, Any]:
    variant, method, quantize = resolve_name(name)
    assert quantize in (None, "nf4")
    model = load_nf4(folder, compute_dtype=torch.float32)
    torch.manual_seed(3)
    attached = create_variant(variant, rank=4, task_type="CAUSAL_LM").attach(model)
    found, created = attach(attached, method=method, **options)
    found.train()
    return found, created


def loss(model: Any, method: Any) -> float:
    with torch.no_grad(), method.evaluation():
        return float(model(**as_batch(examples())).loss)


@pytest.mark.parametrize(
    "name", ["qlora", "qlora-sam", "bi-qlora", "dora+bilora", "hira+bilora", "msam", "rwp-lora", "lora-obar", "wsam"]
)
def test_trains_on_four_bits(name: str, folder: Path) -> None:
    model, method = on_nf4(folder, name)
    base = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert any(p.dtype == torch.uint8 for p in base.values())
    start = loss(model, method)
    train(method, model, steps=12, lr=0.3 if "hira" in name else 1e-2)
    assert loss(model, method) < start - 1e-3
    assert all(torch.equal(p, base[n]) for n, p in model.named_parameters() if n in base)


@pytest.mark.parametrize("name", ["qlora-sam", "bi-qlora", "hira+lora-sam"])
def test_weights_are_restored_bit_for_bit(name: str, folder: Path) -> None:
    model, method = on_nf4(folder, name)
    train(method, model, steps=2)
    kept = [p.detach().clone() for p in method.weights.parameters]
    train(method, model, steps=2, lr=0.0)
    assert all(torch.equal(p, k) for p, k in zip(method.weights.parameters, kept, strict=True))


@pytest.mark.parametrize("name", ["qlora", "dora", "hira"])
def test_change_is_relative_to_the_unpacked_weight(name: str, folder: Path) -> None:
    """The layer's own output with and without the adapter, on the identity, is the weight and its change."""
    model, _ = on_nf4(folder, name)
    stirred(model)
    model.eval()
    layer = model.get_submodule(lora_factors(model)[0].name)
    identity = torch.eye(16)
    with torch.no_grad():
        adapted = layer(identity).T
        with model.disable_adapter():
            plain = layer(identity).T
    torch.testing.assert_close(base_weight(layer), plain, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(effective_change(layer, "default"), adapted - plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["qlora-sam", "bi-qlora", "hira+bilora"])
def test_resumed_run_equals_an_uninterrupted_one(name: str, folder: Path, tmp_path: Path) -> None:
    def run(output: Path) -> SharpnessTrainer:
        variant, method, _ = resolve_name(name)
        model = load_nf4(folder, compute_dtype=torch.float32)
        torch.manual_seed(3)
        return SharpnessTrainer(
            create_variant(variant, rank=4, task_type="CAUSAL_LM").attach(model),
            TrainingArguments(
                output_dir=str(output),
                per_device_train_batch_size=8,
                max_steps=4,
                learning_rate=1e-2,
                save_steps=2,
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                seed=4,
            ),
            method=method,
            train_dataset=examples(32),
            data_collator=as_batch,
        )

    def state(trainer: SharpnessTrainer) -> dict[str, Tensor]:
        return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}

    whole = run(tmp_path / "whole")
    whole.train()
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    resumed = run(tmp_path / "again")
    resumed.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-2"))
    expected = state(whole)
    assert all(torch.equal(value, expected[key]) for key, value in state(resumed).items())


def test_an_evaluation_changes_no_gradient_that_follows(folder: Path) -> None:
    """Bitsandbytes re-packs weights on some CPUs when a model is evaluated, and loses gradients thereby."""
    model, _ = on_nf4(folder, "qlora")
    stirred(model)
    found = []
    for _ in range(2):
        model.train()
        model(**as_batch(examples())).loss.backward()
        found.append([f.A.grad for f in lora_factors(model)])
        model.zero_grad()
        model.eval()
        with torch.no_grad():
            model(**as_batch(examples()))
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_weights_are_doubly_quantised_nf4_and_norms_fp32(folder: Path) -> None:
    model = load_nf4(folder)
    weight = model.model.layers[0].self_attn.q_proj.weight
    assert (weight.quant_type, weight.quant_state.nested) == ("nf4", True)
    assert model.model.norm.weight.dtype == torch.float32
    assert not any(p.requires_grad for p in model.parameters())
    config: BitsAndBytesConfig = model.config.quantization_config
    assert config.bnb_4bit_compute_dtype == torch.bfloat16


def test_gradient_checkpointing_changes_no_gradient(folder: Path) -> None:
    found = []
    for checkpointing in (False, True):
        model = load_nf4(folder, compute_dtype=torch.float32, gradient_checkpointing=checkpointing)
        torch.manual_seed(3)
        attached = create_variant("lora", rank=4, task_type="CAUSAL_LM").attach(model)
        stirred(attached)
        attached.train()
        attached(**as_batch(examples()), use_cache=False).loss.backward()
        found.append([f.A.grad for f in lora_factors(attached)])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("method", ["flat-lora", "rwp-full"])
def test_methods_that_write_to_the_base_refuse_it(method: str, folder: Path) -> None:
    with pytest.raises(MethodError, match="does not run on a quantised base"):
        on_nf4(folder, method)


@pytest.mark.parametrize("variant", ["pissa", "delora"])
def test_variants_that_need_the_stored_weight_refuse_it(variant: str, folder: Path) -> None:
    with pytest.raises(VariantError, match=f"variant '{variant}' cannot stand on a quantised base"):
        create_variant(variant).attach(load_nf4(folder))


def test_missing_bitsandbytes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'bilora\[qlora\]'"):
        load_nf4("anywhere")
