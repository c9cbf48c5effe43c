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
from transformers import AutoConfig, AutoTokenizer

from benchmarks.errors import UsageError
from benchmarks.harness.subjects import Base
from benchmarks.language import language_kind
from bilora.quantised import load_nf4

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_base(base: Base, *, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    """Load a language model in evaluation mode and its tokenizer; safetensors only, no code of the folder is run.

    Args:
        base: What to load.
        dtype: Type of its weights, and of the arithmetic of 4-bit ones.
        device: Where it goes.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.tokenizer or base.source)
        model_class = language_kind(AutoConfig.from_pretrained(base.source)).model_class
        options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
        if base.quantize is None:
            model = model_class.from_pretrained(base.source, **options).to(device)
        else:
            options |= {"model_class": model_class, "device_map": {"": device}}
            model = load_nf4(base.source, compute_dtype=dtype, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"--model: {base.source} cannot be loaded as a language model: {reason}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # A length that a model's own configuration sets would win over the one that a task sets.
    model.generation_config.max_new_tokens = None
    return model.eval(), tokenizer


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
            reason = " ".join(str(error).split())[:300]
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
