from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from bilora import SharpnessTrainer
from bilora.flat import FlatAdamW
from bilora.trainer_graphs import is_spread
from tests.tiny import as_batch, examples, lora_config, moved_off_zero, tiny_llama

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")


def trainer(folder: Path, method: str = "bilora", *, cuda_graphs: bool = True, **changes: Any) -> SharpnessTrainer:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 8,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    torch.manual_seed(3)
    return SharpnessTrainer(
        tiny_llama(),
        TrainingArguments(**{**settings, **changes}),
        method=method,
        peft_config=lora_config(),
        cuda_graphs=cuda_graphs,
        train_dataset=examples(24),
        data_collator=as_batch,
    )


def test_a_cpu_has_no_graphs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cuda_graphs: they need a CUDA device, .* cpu, or leave cuda_graphs off"):
        trainer(tmp_path, use_cpu=True)


def test_methods_whose_passes_change_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cuda_graphs: passes of method 'flat-lora' change"):
        trainer(tmp_path, "flat-lora", use_cpu=True)


@needs_cuda
def test_a_cache_that_is_emptied_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="torch_empty_cache_steps"):
        trainer(tmp_path, torch_empty_cache_steps=1)


@needs_cuda
@pytest.mark.parametrize("method", ["lora", "lora-sam", "bilora"])
@pytest.mark.parametrize("bf16", [False, True])
def test_training_is_the_same(method: str, bf16: bool, tmp_path: Path) -> None:
    """Accumulation over unequal numbers of scored tokens, clipping, schedule, and mixed precision."""
    losses, factors = [], []
    for cuda_graphs in (False, True):
        run = trainer(tmp_path, method, cuda_graphs=cuda_graphs, bf16=bf16)
        moved_off_zero(run.model)
        run.train()
        assert isinstance(run.optimizer.optimizer, FlatAdamW) == cuda_graphs
        losses.append([record["loss"] for record in run.state.log_history if "loss" in record])
        factors.append([p.detach().clone() for p in run.model.parameters() if p.requires_grad])
        if cuda_graphs:
            assert run._graphed._graphed._recordings
    assert losses[1] == pytest.approx(losses[0], rel=1e-2 if bf16 else 1e-4)
    for found, expected in zip(factors[1], factors[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=0.1 if bf16 else 1e-3, atol=5e-3 if bf16 else 1e-5)


@needs_cuda
def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    """Checkpoints of either kind of optimizer are taken by the other."""
    whole = trainer(tmp_path / "whole", save_strategy="steps", save_steps=4)
    whole.train()
    for cuda_graphs in (True, False):
        resumed = trainer(tmp_path / str(cuda_graphs), cuda_graphs=cuda_graphs)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
        wanted = dict(whole.model.named_parameters())
        for name, parameter in resumed.model.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(parameter, wanted[name], rtol=1e-3, atol=1e-5)


def test_a_model_is_spread_when_its_parameters_lie_on_several_devices() -> None:
    assert is_spread(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, device="meta")))
    assert not is_spread(nn.Linear(1, 1))
    assert not is_spread(None)
