"""A run of a variant that is resumed in the middle equals an uninterrupted one, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import TrainingArguments

from bilora import SharpnessTrainer
from bilora.factors import lora_factors
from bilora.residual_base import start_factors
from bilora.variants import VariantError, variant_names
from tests.tiny import as_batch, examples, tiny_llama
from tests.variants import logits, prepared, with_variant


def trainer(folder: Path, model: Any, method: str, **changes: Any) -> SharpnessTrainer:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "cosine",
        "save_strategy": "steps",
        "save_steps": 2,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 4,
    }
    return SharpnessTrainer(
        model,
        TrainingArguments(**{**settings, **changes}),
        method=method,
        train_dataset=examples(32),
        eval_dataset=examples(8, seed=2),
        data_collator=as_batch,
    )


def state(model: Any) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def checkpoint(whole: Path, again: Path) -> str:
    shutil.copytree(whole / "checkpoint-2", again / "checkpoint-2")
    return str(again / "checkpoint-2")


@pytest.mark.parametrize("name", variant_names())
def test_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    """Its checkpoints are adapters for the original base all the same."""
    whole = trainer(tmp_path / "whole", with_variant(name, dropout=0.1), "bilora")
    whole.train()
    resumed = trainer(tmp_path / "again", with_variant(name, dropout=0.1), "bilora")
    resumed.train(resume_from_checkpoint=checkpoint(tmp_path / "whole", tmp_path / "again"))
    expected = state(whole.model)
    assert all(torch.equal(value, expected[key]) for key, value in state(resumed.model).items())
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path / "whole" / "checkpoint-4")
    with whole.method.evaluation():
        torch.testing.assert_close(logits(again), logits(whole.model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pissa", "lora-ga"])
def test_the_start_of_a_checkpoint_saves_decomposing_again(name: str, tmp_path: Path) -> None:
    """Bit for bit the same base, without SVD and without the batches of the gradient estimate."""
    whole = trainer(tmp_path / "whole", with_variant(name), "bilora")
    whole.train()
    folder = checkpoint(tmp_path / "whole", tmp_path / "again")
    variant = prepared("pissa", tiny_llama()) if name == "pissa" else prepared("lora-ga", tiny_llama(), gamma=1.0)
    resumed = trainer(tmp_path / "again", variant.attach(tiny_llama(), start=folder), "bilora")
    resumed.train(resume_from_checkpoint=folder)
    expected = state(whole.model)
    assert all(torch.equal(value, expected[key]) for key, value in state(resumed.model).items())


def test_resuming_from_another_start_takes_that_of_the_checkpoint(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", with_variant("lora-ga"), "lora")
    whole.train()
    resumed = trainer(tmp_path / "again", with_variant("lora-ga", gamma=4.0), "lora")
    resumed.train(resume_from_checkpoint=checkpoint(tmp_path / "whole", tmp_path / "again"))
    torch.testing.assert_close(logits(resumed.model), logits(whole.model), rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(lora_factors(resumed.model), lora_factors(whole.model), strict=True):
        found = start_factors(resumed.model.get_submodule(mine.name))
        expected = start_factors(whole.model.get_submodule(theirs.name))
        assert found is not None
        assert expected is not None
        assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("name", ["lora", "pissa", "hira"])
def test_best_model_is_loaded_in_place(name: str, tmp_path: Path) -> None:
    run = trainer(
        tmp_path,
        with_variant(name),
        "bilora",
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        learning_rate=1.0,
    )
    run.train()
    best = Path(str(run.state.best_model_checkpoint))
    with run.method.evaluation():
        found = logits(run.model)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(tiny_llama(), best)), found, rtol=1e-4, atol=1e-4)
    assert run.method.pair.auxiliary_active  # type: ignore[attr-defined]


def test_a_start_of_another_shape_is_refused(tmp_path: Path) -> None:
    run = trainer(tmp_path, with_variant("pissa"), "lora", max_steps=2)
    run.train()
    folder = tmp_path / "checkpoint-2"
    with pytest.raises(
        VariantError, match=r"q_proj has shapes \(4, 16\) and \(16, 4\); expected \(2, 16\) and \(16, 2\)"
    ):
        prepared("pissa", tiny_llama(), rank=2).attach(tiny_llama(), start=folder)
    few = trainer(tmp_path / "few", with_variant("pissa", target_modules=["v_proj"]), "lora", max_steps=2)
    few.train()
    with pytest.raises(VariantError, match=r"q_proj has shapes none; expected"):
        prepared("pissa", tiny_llama()).attach(tiny_llama(), start=tmp_path / "few" / "checkpoint-2")
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors is missing"):
        prepared("pissa", tiny_llama()).attach(tiny_llama(), start=tmp_path / "nowhere")
