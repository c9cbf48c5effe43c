from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainingArguments

from bilora import SharpnessTrainer, attach, build_optimizer
from bilora.methods import DualLora, MethodError
from tests.driving import train
from tests.tiny import as_batch, attached, examples, lora_config, primary_state, tiny_llama


def dual(**options: Any) -> tuple[Any, DualLora]:
    model, method = attached("dual-lora", **options)
    assert isinstance(method, DualLora)
    return model, method


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(**as_batch(examples(4))).logits


def test_one_step_descends_in_both_branches_and_clips_the_second() -> None:
    """The paper's Algorithm 1 with the sign of the second branch turned, in plain tensors."""
    model, method = dual(rho=0.02)
    train(method, model, steps=2)
    model.zero_grad()
    model(**as_batch(examples())).loss.backward()
    rate = 0.05
    first = [(f.A - rate * f.A.grad, f.B - rate * f.B.grad) for f in method.pair.primary]
    second = [(f.A - rate * f.A.grad, f.B - rate * f.B.grad, f.scaling) for f in method.pair.auxiliary]
    norm = torch.stack([torch.linalg.matrix_norm(s * B @ A) for A, B, s in second]).norm()
    assert norm > 0.02
    build_optimizer(method, lr=rate, max_grad_norm=0.0, optimizer_class=torch.optim.SGD).step()
    shrink = (0.02 / norm).sqrt()
    for layer, (A, B) in zip(method.pair.primary, first, strict=True):
        torch.testing.assert_close(layer.A.data, A.data)
        torch.testing.assert_close(layer.B.data, B.data)
    for layer, (A, B, _) in zip(method.pair.auxiliary, second, strict=True):
        torch.testing.assert_close(layer.A.data, shrink * A.data, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(layer.B.data, shrink * B.data, rtol=1e-5, atol=1e-8)


def test_rho_zero_is_lora() -> None:
    states = []
    options: dict[str, dict[str, Any]] = {"lora": {}, "dual-lora": {"rho": 0.0}}
    for name, given in options.items():
        model, method = attached(name, fused=False, **given)
        train(method, model, steps=3)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3, "layers.1.self_attn.k_proj": 5}},
    ],
)
def test_export_is_one_plain_adapter_of_the_joint_rank(changes: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(3)
    model, method = attach(tiny_llama(), lora_config(**changes), method="dual-lora", rho=0.5, auxiliary_rank=3)
    train(method, model, steps=3)
    method.export(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert not any("auxiliary" in key for key in weights)
    assert not (tmp_path / "auxiliary").exists()
    assert config["r"] in (4 + 3, 2 + 3)
    model.eval()
    with method.evaluation():
        expected = logits(model)
    restored = PeftModel.from_pretrained(tiny_llama(), str(tmp_path)).eval()
    torch.testing.assert_close(logits(restored), expected, rtol=1e-4, atol=1e-5)
    assert (logits(tiny_llama().eval()) - expected).abs().max() > 1e-2
    with method.pair.auxiliary_off():
        assert (logits(model) - expected).abs().max() > 1e-3
    assert model.peft_config["default"].r == 4


def test_a_dropped_second_branch_is_neither_evaluated_nor_exported(tmp_path: Path) -> None:
    model, method = dual(rho=0.5, second_branch="dropped")
    train(method, model, steps=3)
    method.export(tmp_path)
    model.eval()
    with method.evaluation():
        kept = logits(model)
    assert (logits(model) - kept).abs().max() > 1e-3
    restored = PeftModel.from_pretrained(tiny_llama(), str(tmp_path)).eval()
    torch.testing.assert_close(logits(restored), kept, rtol=1e-4, atol=1e-5)


def test_both_branches_come_back_from_the_joint_adapter(tmp_path: Path) -> None:
    model, method = dual(rho=0.5, auxiliary_rank=3)
    train(method, model, steps=3)
    method.export(tmp_path)
    again, loaded = dual(rho=0.5, auxiliary_rank=3)
    loaded.load_adapter(tmp_path)
    expected = {n: p for n, p in model.named_parameters() if "lora_" in n}
    assert all(torch.equal(p, expected[n]) for n, p in again.named_parameters() if n in expected)
    _, other = dual(auxiliary_rank=4)
    with pytest.raises(MethodError, match=r"holds rank 7 for .*, expected the joint rank 4 \+ 4"):
        other.load_adapter(tmp_path)


def test_the_best_model_of_a_run_is_loaded_with_both_branches(tmp_path: Path) -> None:
    torch.manual_seed(3)
    run = SharpnessTrainer(
        tiny_llama(),
        TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            max_steps=4,
            learning_rate=5e-2,
            eval_strategy="steps",
            save_strategy="steps",
            eval_steps=1,
            save_steps=1,
            load_best_model_at_end=True,
            greater_is_better=True,  # the worst one, so that it is not the last
            metric_for_best_model="loss",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        method="dual-lora",
        method_options={"rho": 0.5},
        peft_config=lora_config(),
        train_dataset=examples(16),
        eval_dataset=examples(8),
        data_collator=as_batch,
    )
    run.train()
    best = max(entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry)
    assert best > run.state.log_history[-2].get("eval_loss", 0.0)
    assert run.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"init_lora_weights": "pissa"}])
def test_one_plain_adapter_needs_plain_lora(changes: dict[str, Any]) -> None:
    with pytest.raises(MethodError, match=r"writes both branches as one plain LoRA adapter.*second_branch=dropped"):
        attach(tiny_llama(), lora_config(**changes), method="dual-lora")
    attach(tiny_llama(), lora_config(**changes), method="dual-lora", second_branch="dropped")


def test_the_second_branch_shares_the_weight_decay_of_the_first() -> None:
    _, method = dual()
    first, second = method.parameter_groups(learning_rate=0.1, weight_decay=0.01)
    assert (first["weight_decay"], second["weight_decay"]) == (0.01, 0.01)
    assert not second.get("maximize")
