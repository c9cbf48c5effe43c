"""Adapters in PEFT's format on tiny models, with every factor off zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from transformers import AutoModelForCausalLM


def save_adapter(
    folder: Path, base: Path, *, seed: int = 0, size: float = 0.5, config: PeftConfig | None = None, **lora: Any
) -> Path:
    """Write a random adapter for a base; `size` 0.5 is enough to change what the base writes."""
    settings: dict[str, Any] = {"r": 2, "lora_alpha": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config or LoraConfig(**{**settings, **lora}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return folder
