"""What every registered method owes, checked for each: a new row of the registry is covered by being there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bilora import Method, SharpnessTrainer, attach, build_optimizer, create_method, method_names
from bilora.methods import METHODS
from tests import trainers
from tests.driving import train
from tests.tiny import TinyMlp, as_batch, examples, tiny_llama, tiny_t5
from tests.trainers import config_for

# Noise drawn in the shape of a micro-batch's logits is other noise for other micro-batches.
BOUND_TO_MICRO_BATCHES = {"rop"}
# What a method must be told about a model that says less of itself than those of transformers.
NEEDED: dict[tuple[str, str], dict[str, Any]] = {("rop", "module"): {"head": "second"}}
MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "llama": (tiny_llama, {}),
    "t5": (tiny_t5, {"task_type": "SEQ_2_SEQ_LM"}),
    "module": (TinyMlp, {"task_type": None, "target_modules": ["first", "second"]}),
}


def tried(name: str, kind: str = "llama", **options: Any) -> tuple[Any, Method]:
    build, changes = MODELS[kind]
    model = build()
    torch.manual_seed(3)
    options = {**NEEDED.get((name, kind), {}), **options}
    attached, method = attach(model, config_for(name, **changes), method=name, **options)
    attached.train()
    return attached, method


def trainer(
    folder: Path, name: str, *, dropout: float = 0.0, rows: list[Any] | None = None, **changes: Any
) -> SharpnessTrainer:
    given = {"max_steps": 4, **changes}
    return trainers.trainer(folder, name, dropout=dropout, rows=rows or examples(32), **given)


def state(run: SharpnessTrainer) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", method_names())
def test_trains(name: str, kind: str) -> None:
    model, method = tried(name, kind)
    batch = as_batch(examples())

    def loss() -> float:
        with torch.no_grad(), method.evaluation():
            return float(model(**batch).loss)

    start = loss()
    train(method, model, steps=12)
    assert loss() < start - 1e-3
    means = method.means.pop()
    assert all(torch.tensor(list(means.values())).isfinite())
    if METHODS[name].perturbs not in ("nothing", "the logits"):
        assert means["perturbation_norm"] > 0


@pytest.mark.parametrize("name", [n for n in method_names() if n not in BOUND_TO_MICRO_BATCHES])
def test_gradient_accumulation_does_not_change_the_update(name: str, tmp_path: Path) -> None:
    """Micro-batches have unequal numbers of scored tokens; the mean is over the tokens of the effective batch."""
    whole = trainer(tmp_path, name, max_steps=3)
    parts = trainer(tmp_path, name, max_steps=3, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    whole.train()
    parts.train()
    expected = state(whole)
    for key, value in state(parts).items():
        torch.testing.assert_close(value, expected[key], rtol=2e-3, atol=5e-5)
    assert whole.method.cost.gradients == pytest.approx(parts.method.cost.gradients)


@pytest.mark.parametrize("name", method_names())
def test_weights_are_restored_bit_for_bit(name: str) -> None:
    """With a learning rate of 0 nothing but the method itself could change a weight."""
    model, method = tried(name)
    descending = {id(p) for p in method.weights.parameters}
    kept = {
        n: p.detach().clone()
        for n, p in model.named_parameters()
        # An auxiliary that no gradient trains is the method's own to set.
        if id(p) in descending or not (p.requires_grad or ".auxiliary." in n)
    }
    train(method, model, steps=3, lr=0.0)
    after = dict(model.named_parameters())
    assert all(torch.equal(after[n], value) for n, value in kept.items())


@pytest.mark.parametrize("name", method_names())
def test_a_pass_that_fails_leaves_the_weights_as_they_were(name: str) -> None:
    model, method = tried(name)
    train(method, model, steps=2)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}

    def fails(kept: Tensor | None = None) -> Tensor:
        raise RuntimeError("out of memory")

    losses = torch.zeros(2)
    with pytest.raises(RuntimeError, match="out of memory"):
        method.gradients(fails, loss=lambda: losses.mean(), example_losses=lambda: losses)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


@pytest.mark.parametrize("name", method_names())
def test_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    settings = {
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 1,
        "lr_scheduler_type": "cosine",
        "dropout": 0.1,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }
    whole = trainer(tmp_path / "whole", name, **settings)
    whole.train()
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "again" / "checkpoint-3")
    resumed = trainer(tmp_path / "again", name, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-3"))
    expected = state(whole)
    assert all(torch.equal(value, expected[key]) for key, value in state(resumed).items())
    assert resumed.method.cost == whole.method.cost
    assert resumed.method.steps == whole.method.steps == 6


@pytest.mark.parametrize("name", method_names())
def test_one_seed_gives_one_result(name: str, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        run = trainer(tmp_path, name, dropout=0.1)
        run.train()
        found.append(state(run))
    first, second = found
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", method_names())
def test_the_global_random_stream_is_that_of_lora(name: str) -> None:
    """Data order and dropout of a run may not depend on the method."""
    states = []
    for each in ("lora", name):
        model, method = tried(each)
        torch.manual_seed(17)
        train(method, model, steps=2)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("name", method_names())
def test_trains_under_bf16_autocast(name: str, tmp_path: Path) -> None:
    run = trainer(tmp_path, name, bf16=True, rows=examples(8), max_steps=12)
    start = state(run)
    run.train()
    assert all(value.isfinite().all() for value in state(run).values())
    assert any(not torch.equal(value, start[key]) for key, value in state(run).items())
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", method_names())
def test_a_zero_gradient_is_no_division_by_zero(name: str) -> None:
    model, method = tried(name)
    optimizer = build_optimizer(method, lr=1e-2, total_steps=2)
    batch = as_batch(examples(4))
    for _ in range(2):

        def forward_backward(kept: Tensor | None = None) -> Tensor:
            loss: Tensor = 0.0 * model(**batch).loss
            loss.backward()
            return loss.detach()

        method.gradients(forward_backward, loss=lambda: torch.zeros(()), example_losses=lambda: torch.zeros(4))
        optimizer.step()
        optimizer.zero_grad()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", method_names())
def test_logs_name_norm_cost_and_memory(name: str, tmp_path: Path) -> None:
    run = trainer(tmp_path, name)
    run.train()
    entry = next(e for e in reversed(run.state.log_history) if "loss" in e)
    assert {"gradient_evaluations", "forward_evaluations", "extra_memory_bytes", "grad_norm"} <= entry.keys()
    assert entry["gradient_evaluations"] >= 4
    assert (entry["extra_memory_bytes"] > 0) == (METHODS[name].memory_rule != "nothing")


@pytest.mark.parametrize("name", method_names())
def test_describes_itself(name: str) -> None:
    cls = METHODS[name]
    for words in (cls.summary, cls.perturbs, cls.radius_convention, cls.cost_rule, cls.memory_rule, cls.source):
        assert words
        assert "\n" not in words
    has_radius = any(entry in ("rho", "sigma") for entry in type(create_method(name).options).__dataclass_fields__)
    assert has_radius == (cls.radius_convention != "no radius")
