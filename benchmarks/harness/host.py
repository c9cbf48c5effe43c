"""Holds one base model and puts one adapter after another on it.

Reading an 8B model takes longer than scoring a small task, so the base is loaded once. An adapter is attached by PEFT,
and taken off by putting every module of the base back where it was, the very objects: nothing is merged and nothing
subtracted, so that the next adapter, of whatever kind, meets the same base bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from benchmarks.errors import UsageError, one_line
from benchmarks.harness.subjects import Base
from benchmarks.hub import fetch
from benchmarks.loading import LoadOptions, load_model


def load_base(base: Base, *, dtype: str, device: torch.device) -> tuple[Any, Any]:
    """Load a language model in evaluation mode and its tokenizer; safetensors only, no code of the folder is run.

    Args:
        base: What to load.
        dtype: Name of the type of its weights, and of the arithmetic of 4-bit ones.
        device: Where it goes.

    Raises:
        UsageError: It cannot be read.
    """
    model, tokenizer = load_model(
        _folder(base.source),
        device=device,
        options=LoadOptions(quantize=base.quantize, dtype=dtype),
        tokenizer_folder=None if base.tokenizer is None else _folder(base.tokenizer),
    )
    # A length that a model's own configuration sets would win over the one that a task sets.
    model.generation_config.max_new_tokens = None
    return model.eval(), tokenizer


def _folder(source: str) -> Path:
    return Path(source) if Path(source).is_dir() else fetch(source)


@contextmanager
def adapted(model: Any, adapter: Path | None) -> Iterator[Any]:
    """Yield a base with an adapter on it, which is taken off afterwards; the base itself for None.

    Raises:
        UsageError: PEFT cannot put it on.
    """
    if adapter is None:
        yield model
        return
    with restored(model):
        try:
            found = PeftModel.from_pretrained(model, str(adapter), use_safetensors=True)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = one_line(error, most=300)
            raise UsageError(f"--adapter: {adapter} does not fit the base model: {reason}") from None
        yield found.eval()


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Put every module of a model back where it was, whatever has replaced it within the context."""
    before = {name: module for name, module in model.named_modules() if name}
    attributes = set(vars(model))
    try:
        yield
    finally:
        for name, module in before.items():
            parent, _, child = name.rpartition(".")
            # Parents come before their children, so that a replaced parent is the original again by now.
            setattr(model.get_submodule(parent), child, module)
        for name in set(vars(model)) - attributes:
            delattr(model, name)  # PEFT notes the adapter's configuration at the model
