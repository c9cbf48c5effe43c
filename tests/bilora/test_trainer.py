from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from bilora import SharpnessTrainer, build_optimizer
from tests.tiny import as_batch, attached, examples, lora_config, one_pass, primary_state, tiny_llama

METHODS = ["lora", "lora-sam", "bilora"]


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    return as_batch(rows)


def trainer(folder: Path, method: str, *, dropout: float = 0.0, **changes: Any) -> SharpnessTrainer:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_steps": 6,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 4,
        "data_seed": 4,
    }
    model = tiny_llama()
    torch.manual_seed(3)
    return SharpnessTrainer(
        model,
        TrainingArguments(**{**settings, **changes}),
        method=method,
        peft_config=lora_config(lora_dropout=dropout),
        train_dataset=examples(24),
        eval_dataset=examples(8, seed=9),
        data_collator=collate,
    )


def state(run: SharpnessTrainer) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in run.model.named_parameters() if "lora_" in n}


@pytest.mark.parametrize("method", METHODS)
def test_gradient_accumulation_does_not_change_the_update(method: str, tmp_path: Path) -> None:
    """Micro-batches have unequal numbers of scored tokens; the mean is over the tokens of the effective batch."""
    whole = trainer(tmp_path, method)
    parts = trainer(tmp_path, method, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    whole.train()
    parts.train()
    for name, value in state(whole).items():
        torch.testing.assert_close(state(parts)[name], value, rtol=1e-3, atol=2e-5)
    assert whole.method.cost.gradients == parts.method.cost.gradients


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


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_one_result(method: str, tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        run = trainer(tmp_path, method, dropout=0.1)
        run.train()
        states.append(state(run))
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def test_primary_start_and_data_order_are_paired_across_methods(tmp_path: Path) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    starts = {}
    for method in METHODS:
        run = trainer(tmp_path, method)
        starts[method] = primary_state(run.model)
        batches: list[torch.Tensor] = []
        step = run.training_step

        def recording(model: Any, inputs: Any, *rest: Any, step: Any = step, batches: Any = batches) -> Any:
            batches.append(inputs["input_ids"].clone())
            return step(model, inputs, *rest)

        run.training_step = recording  # type: ignore[method-assign]
        run.train()
        seen[method] = batches
    for method in METHODS[1:]:
        assert all(torch.equal(starts["lora"][n], starts[method][n]) for n in starts["lora"])
        assert all(torch.equal(a, b) for a, b in zip(seen["lora"], seen[method], strict=True))


def test_lora_equals_the_stock_trainer_on_peft(tmp_path: Path) -> None:
    from peft import get_peft_model

    ours = trainer(tmp_path, "lora")
    ours.train()
    model = tiny_llama()
    torch.manual_seed(3)
    stock = Trainer(
        model=get_peft_model(model, lora_config()),
        args=ours.args.__class__(**{**_settings(ours), "max_grad_norm": 1.0}),
        train_dataset=examples(24),
        data_collator=collate,
    )
    stock.train()
    expected = primary_state(stock.model)
    for name, value in primary_state(ours.model).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)


def _settings(run: SharpnessTrainer) -> dict[str, Any]:
    names = ("output_dir", "per_device_train_batch_size", "max_steps", "learning_rate", "seed", "data_seed")
    return {name: getattr(run.args, name) for name in names} | {
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }


def test_bare_loop_equals_the_trainer(tmp_path: Path) -> None:
    """The two calls around a loop of one's own, on the Trainer's batches, give the Trainer's weights."""
    for name in METHODS:
        run = trainer(tmp_path, name, lr_scheduler_type="constant")
        order: list[dict[str, torch.Tensor]] = []
        original = run.compute_loss

        def remember(model: Any, inputs: Any, *a: Any, original: Any = original, order: Any = order, **k: Any) -> Any:
            order.append({key: value.clone() for key, value in inputs.items()})
            return original(model, inputs, *a, **k)

        run.compute_loss = remember  # type: ignore[method-assign]
        run.train()
        model, method = attached(name)
        optimizer = build_optimizer(method, lr=1e-2, fused=True)
        passes = 2 if name == "lora-sam" else 1
        for batch in order[::passes]:
            method.gradients(one_pass(model, batch))
            optimizer.step()
            optimizer.zero_grad()
        expected = state(run)
        for key, value in model.named_parameters():
            if "lora_" in key:
                torch.testing.assert_close(value.detach(), expected[key], rtol=1e-4, atol=1e-6)


def test_evaluation_runs_without_the_auxiliary(tmp_path: Path) -> None:
    run = trainer(tmp_path, "bilora", eval_strategy="steps", eval_steps=3)
    run.train()
    logged = [entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry]
    assert len(logged) == 2
    batch = as_batch(examples(8, seed=9))
    run.model.eval()
    with torch.no_grad():
        perturbed = run.model(**batch).loss.item()
        with run.method.evaluation():
            clean = run.model(**batch).loss.item()
    assert logged[-1] == pytest.approx(clean, rel=1e-5)
    assert abs(perturbed - clean) > 1e-5


def test_checkpoints_hold_a_plain_adapter_and_the_methods_state_apart(tmp_path: Path) -> None:
    run = trainer(tmp_path, "bilora", save_strategy="steps", save_steps=6)
    run.train()
    checkpoint = tmp_path / "checkpoint-6"
    weights = load_file(checkpoint / "adapter_model.safetensors")
    assert not any("auxiliary" in name for name in weights)
    assert not (checkpoint / "auxiliary").exists()
    assert any(name.endswith(".B") for name in load_file(checkpoint / "method_state.safetensors"))
    assert json.loads((checkpoint / "adapter_config.json").read_text())["r"] == 4


def test_logs_carry_norms_costs_and_clip_fraction(tmp_path: Path) -> None:
    run = trainer(tmp_path, "bilora")
    run.train()
    entry = next(e for e in reversed(run.state.log_history) if "loss" in e)
    assert {"perturbation_norm", "clip_active", "grad_norm", "auxiliary_grad_norm"} <= entry.keys()
    assert entry["gradient_evaluations"] == 6.0


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


def test_a_ready_optimizer_is_refused(tmp_path: Path) -> None:
    model = tiny_llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="a ready optimizer would not train method 'bilora'"):
        SharpnessTrainer(
            model, TrainingArguments(output_dir=str(tmp_path)), peft_config=lora_config(), optimizers=(optimizer, None)
        )
