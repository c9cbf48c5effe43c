"""The model whose optimizer steps are timed, by name, from a folder, or as a published shape with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig
from torch import nn

from benchmarks.errors import UsageError
from benchmarks.language import language_kind
from benchmarks.loading import load_model
from benchmarks.model_shapes import SHAPES, ModelShape, language_batch
from benchmarks.models import locate_model
from benchmarks.step_cost import Shape, Subject
from benchmarks.step_memory import available_bytes, needed_bytes, on_device


def subject(
    model: str, *, rank: int, weights: str, layers: int | None, shapes: Sequence[Shape], device: torch.device
) -> Subject:
    """Make the model that is timed.

    Raises:
        UsageError: If it cannot be found, or does not fit into the memory that is free.
    """
    options: dict[str, Any] = {"r": rank, "lora_alpha": 2 * rank}
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if model in SHAPES:
        shape = SHAPES[model]
        empty = shape.empty(dtype, layers=layers)
        for size in shapes:
            _refuse_too_large(model, shape, empty, size, rank, device)
        return Subject(
            name=model if layers is None else f"{model}, {layers} layers",
            base=shape.on(device, dtype, layers=layers),
            config=LoraConfig(target_modules=list(shape.target_modules), task_type=shape.task_type, **options),
            batch=lambda rows, tokens: on_device(shape.batch(rows, tokens, generator), device, dtype),
            blocks=(shape.block,),
        )
    base, tokenizer = load_model(locate_model(model), device=device)
    kind = language_kind(base.config)
    if weights == "random":
        torch.manual_seed(0)
        base = kind.model_class.from_config(base.config, dtype=torch.float32).to(device)
    make = language_batch(len(tokenizer))
    return Subject(
        name=model,
        base=base,
        config=LoraConfig(target_modules="all-linear", task_type=kind.task_type, **options),
        batch=lambda rows, tokens: on_device(make(rows, tokens, generator), device, torch.float32),
    )


def _refuse_too_large(
    name: str, shape: ModelShape, empty: nn.Module, size: Shape, rank: int, device: torch.device
) -> None:
    batch = shape.batch(*size, torch.Generator())
    needed = needed_bytes(empty, batch, rank=rank, adapted=shape.target_modules)
    available = available_bytes(device)
    if needed > available:
        raise UsageError(
            f"--model {name} --shapes {size[0]}x{size[1]}: needs at least {needed / 1e9:.1f} GB and "
            f"{available / 1e9:.1f} GB of {device.type} memory are free; take smaller --shapes, or fewer --layers"
        )
