from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from bilora import MethodError, attach, build_optimizer
from tests.driving import step_gradients, train, trained
from tests.tiny import TinyMlp, as_batch, examples, lora_config, tiny_llama


def test_trains_every_weight_as_the_optimizer_alone_would() -> None:
    plain = tiny_llama()
    model, method = attach(tiny_llama().requires_grad_(False), method="full-ft")
    optimizer = build_optimizer(method, lr=1e-2, max_grad_norm=0.0, weight_decay=0.1)
    reference = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1)
    for seed in range(3):
        batch = as_batch(examples(seed=seed))
        step_gradients(method, model, batch)
        optimizer.step()
        optimizer.zero_grad()
        plain(**batch).loss.backward()
        reference.step()
        reference.zero_grad()
    assert len(trained(model)) == len(list(plain.parameters()))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), plain.parameters(), strict=True))
    assert method.cost.gradients == 3


def test_exports_the_whole_model(tmp_path: Path) -> None:
    model, method = attach(tiny_llama(), method="full-ft")
    train(method, model, steps=2)
    method.export(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), loaded.parameters(), strict=True))


def test_a_module_without_save_pretrained_is_trained_but_not_exported(tmp_path: Path) -> None:
    model, method = attach(TinyMlp(), method="full-ft")
    train(method, model, steps=1)
    with pytest.raises(MethodError, match="TinyMlp has no save_pretrained"):
        method.export(tmp_path)


def test_refuses_adapters_and_quantised_weights() -> None:
    with pytest.raises(MethodError, match="takes no adapter, found LoraConfig; pass peft_config=None"):
        attach(tiny_llama(), lora_config(), method="full-ft")
    with pytest.raises(MethodError, match="trains a plain model, found a PeftModel"):
        attach(get_peft_model(tiny_llama(), lora_config()), method="full-ft")
    quantised = tiny_llama()
    quantised.is_quantized = True
    with pytest.raises(MethodError, match="does not run on a quantised base: quantised weights have no gradient"):
        attach(quantised, method="full-ft")


def test_counts_gradient_and_moments_of_every_weight_as_its_memory() -> None:
    model, method = attach(tiny_llama(), method="full-ft")
    optimizer = build_optimizer(method, lr=1e-3)
    step_gradients(method, model, as_batch(examples()))
    optimizer.step()
    held = [p.grad for p in model.parameters()]
    held += [optimizer.state[p][key] for p in model.parameters() for key in ("exp_avg", "exp_avg_sq")]
    assert method.extra_memory() == sum(t.nbytes for t in held)
