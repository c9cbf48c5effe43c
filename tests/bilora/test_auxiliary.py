"""Bi-LoRA's auxiliary beside every variant: outside the primary's parametrisation, off in evaluation, never saved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from bilora import attach
from bilora.adapters import AdapterPair
from bilora.auxiliary import AUXILIARY, add_hooked_auxiliary
from bilora.factors import LoraFactors, lora_factors
from bilora.variants import variant_names
from tests.driving import train
from tests.tiny import as_batch, examples, lora_config, tiny_llama
from tests.variants import logits, stirred, with_variant

HOOKED = ["hira", "delora"]


def with_pair(name: str, **options: Any) -> tuple[PeftModel, AdapterPair]:
    model = with_variant(name)
    pair = AdapterPair(model, **options)
    stirred(model)
    return model, pair


@pytest.mark.parametrize("name", variant_names())
def test_auxiliary_adds_its_product_to_the_merged_weight(name: str) -> None:
    """Outside DoRA's normalisation and HiRA's product with W: merging the primary and adding s B2 A2 is the same."""
    model, pair = with_pair(name)
    both = logits(model)
    with pair.auxiliary_off():
        alone = logits(model)
        merged = copy.deepcopy(model)
    if AUXILIARY in merged.peft_config:
        merged.delete_adapter(AUXILIARY)
    dense = merged.merge_and_unload()
    torch.testing.assert_close(logits(dense), alone, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for f in pair.auxiliary:
            weight = dense.get_submodule(f.name.removeprefix("base_model.model.")).weight
            weight.add_(f.scaling * f.B @ f.A)
    torch.testing.assert_close(logits(dense), both, rtol=1e-4, atol=1e-5)
    assert (both - alone).abs().max() > 0.01


@pytest.mark.parametrize("name", ["dora", "pissa"])
def test_auxiliary_is_plain_lora_whatever_the_primary(name: str) -> None:
    model, pair = with_pair(name)
    config = model.peft_config[AUXILIARY]
    assert not config.use_dora
    assert config.init_lora_weights is True
    assert [f.scaling for f in pair.auxiliary] == [f.scaling for f in pair.primary]


@pytest.mark.parametrize("name", HOOKED)
def test_hooked_auxiliary_is_trained_and_copied_with_the_model(name: str) -> None:
    model, pair = with_pair(name, auxiliary_rank=2)
    assert {f.A.shape[0] for f in pair.auxiliary} == {2}
    model(**as_batch(examples())).loss.backward()
    live = {id(p) for p in model.parameters() if p.requires_grad}
    for f in pair.auxiliary:
        assert {id(f.A), id(f.B)} <= live
        assert f.A.grad is not None
        assert f.B.grad is not None
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), logits(model))
    with torch.no_grad():
        for f in pair.auxiliary:
            f.B.zero_()
    assert not torch.equal(logits(twin), logits(model))


@pytest.mark.parametrize("name", HOOKED)
def test_hooked_auxiliary_is_off_in_evaluation_and_with_adapters_disabled(name: str) -> None:
    model, pair = with_pair(name)
    both = logits(model)
    with pair.auxiliary_off():
        with pair.auxiliary_off():
            pass
        assert not pair.auxiliary_active
        alone = logits(model)
    assert pair.auxiliary_active
    assert torch.equal(logits(model), both)
    assert not torch.equal(alone, both)
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), logits(tiny_llama()), rtol=0, atol=0)


@pytest.mark.parametrize("name", HOOKED)
def test_exported_adapter_holds_the_primary_alone(name: str, tmp_path: Path) -> None:
    model, method = attach(with_variant(name), method="bilora")
    train(method, model, steps=4)
    method.export(tmp_path)
    assert all(name in key for key in load_file(tmp_path / "adapter_model.safetensors"))
    with method.evaluation():
        expected = logits(model)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(tiny_llama(), tmp_path)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", HOOKED)
def test_one_step_is_the_printed_rule(name: str) -> None:
    """Ascent of the auxiliary along the shared gradient, then scaled onto the ball."""
    created: Any
    model, created = attach(with_variant(name), method="bilora", rho=0.02)
    factors: list[LoraFactors] = created.pair.auxiliary
    train(created, model, steps=3)
    model.train()
    model(**as_batch(examples())).loss.backward()
    ascended = [(f.A + 0.1 * f.A.grad, f.B + 0.1 * f.B.grad) for f in factors]
    created.zero_gradients()
    norm = torch.stack([(B @ A).square().sum() for A, B in ascended]).sum().sqrt()
    assert norm > 0.02
    train(created, model, steps=1, lr=0.1, optimizer_class=torch.optim.SGD, max_grad_norm=0.0)
    for f, (A, B) in zip(factors, ascended, strict=True):
        torch.testing.assert_close(f.A, A * (0.02 / norm).sqrt(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(f.B, B * (0.02 / norm).sqrt(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", HOOKED)
def test_start_is_paired_with_plain_lora(name: str) -> None:
    """The global random stream is left alone, B is zero, and A is drawn as LoRA draws it."""
    model = with_variant(name)
    state = torch.get_rng_state()
    pair = AdapterPair(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(not f.B.any() for f in pair.auxiliary)
    for f in pair.auxiliary:
        bound = f.A.shape[1] ** -0.5
        assert 0.8 * bound < float(f.A.detach().abs().max()) <= bound


def test_factors_take_the_precision_of_autocast_and_give_the_layers() -> None:
    model, _ = with_pair("hira")
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**as_batch(examples()))
    assert output.logits.isfinite().all()
    half = with_variant("hira").to(torch.bfloat16)
    factors = add_hooked_auxiliary(half, [half.get_submodule(lora_factors(half)[0].name)], "default", rank=None)
    factors[0].float()
    assert logits(half).dtype == torch.bfloat16


def test_refuses_what_it_cannot_stand_beside() -> None:
    model, _ = with_pair("hira")
    with pytest.raises(ValueError, match="already carries auxiliary factors"):
        AdapterPair(model)
    with pytest.raises(ValueError, match="no LoRA layer"):
        AdapterPair(_ia3())


def _ia3() -> PeftModel:
    from peft import IA3Config, get_peft_model

    plain: nn.Module = tiny_llama()
    found: PeftModel = get_peft_model(plain, IA3Config(target_modules=["k_proj"], feedforward_modules=[]))
    return found


def test_set_by_the_method_it_gets_no_gradient() -> None:
    for name in ("lora", "hira"):
        pair = AdapterPair(with_variant(name), auxiliary_trained=False)
        assert not any(p.requires_grad for f in pair.auxiliary for p in (f.A, f.B))
        with pair.auxiliary_off():
            pass
        assert not any(p.requires_grad for f in pair.auxiliary for p in (f.A, f.B))
        assert all(p.requires_grad for f in pair.primary for p in (f.A, f.B))


def test_a_classifier_keeps_one_head_which_the_primary_trains(tmp_path: Path) -> None:
    """PEFT gives every adapter of a classifier a head of its own; the auxiliary has none."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = LlamaForSequenceClassification(LlamaConfig(vocab_size=32, pad_token_id=0, num_labels=3, **shape))
    model, method = attach(base, lora_config(task_type="SEQ_CLS"), method="bilora")
    heads = [name for name, _ in model.named_parameters() if "score.modules_to_save" in name]
    assert heads == ["base_model.model.score.modules_to_save.default.weight"]
    assert model.get_parameter(heads[0]).requires_grad
    method.export(tmp_path)
    assert any("score" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
