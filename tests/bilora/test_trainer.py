from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from bilora import SharpnessTrainer, build_optimizer
from tests.tiny import as_batch, attached, examples, lora_config, one_pass, primary_state, tiny_llama
from tests.trainers import state, trainer

METHODS = ["lora", "lora-sam", "bilora"]


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
        data_collator=as_batch,
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


def test_logs_carry_norms_costs_and_clip_fraction(tmp_path: Path) -> None:
    run = trainer(tmp_path, "bilora")
    run.train()
    entry = next(e for e in reversed(run.state.log_history) if "loss" in e)
    assert {"perturbation_norm", "clip_active", "grad_norm", "auxiliary_grad_norm"} <= entry.keys()
    assert entry["gradient_evaluations"] == 6.0


def test_a_ready_optimizer_is_refused(tmp_path: Path) -> None:
    model = tiny_llama()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="a ready optimizer would not train method 'bilora'"):
        SharpnessTrainer(
            model, TrainingArguments(output_dir=str(tmp_path)), peft_config=lora_config(), optimizers=(optimizer, None)
        )
