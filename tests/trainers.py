"""A short run of a method in the Trainer on the tiny Llama."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainingArguments

from bilora import SharpnessTrainer
from bilora.methods import METHODS
from tests.tiny import as_batch, examples, lora_config, tiny_llama


def config_for(name: str, **changes: Any) -> LoraConfig | None:
    """Methods that train all weights take no adapter."""
    return None if METHODS[name].trains_all_weights else lora_config(**changes)


def trainer(
    folder: Path,
    method: str,
    *,
    dropout: float = 0.0,
    rows: list[Any] | None = None,
    **changes: Any,
) -> SharpnessTrainer:
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
        peft_config=config_for(method, lora_dropout=dropout),
        train_dataset=rows or examples(24),
        eval_dataset=examples(8, seed=9),
        data_collator=as_batch,
    )


def state(run: SharpnessTrainer) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in run.model.named_parameters() if "lora_" in n}
