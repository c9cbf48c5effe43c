"""What the pages take as given: a model, a data set, adapters in folders. Named by a mark, `setup NAME`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from benchmarks.models import SHIPPED
from bilora import Method, compiled
from bilora.methods import METHODS
from tests.adapters import save_adapter
from tests.models import save_tiny_model
from tests.tiny import as_batch, examples, tiny_llama

Names = dict[str, Any]


def trainer(folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model, training arguments of two steps, a data set and its collator."""
    names["model"] = tiny_llama()
    names["training_arguments"] = TrainingArguments(
        output_dir=str(folder / "run"), max_steps=2, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no"
    )
    names["dataset"], names["collator"] = examples(), as_batch


def loop(folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and three batches."""
    names["model"], names["batches"] = tiny_llama(), [as_batch(examples()) for _ in range(3)]


def eager_compiler(folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are traced and not made into kernels, which takes a minute."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    logging.getLogger("torch.__trace").disabled = True
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)


def adapters(folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapters `lora` and `bilora` on pocket-llama."""
    for seed, name in enumerate(("lora", "bilora")):
        save_adapter(folder / name, SHIPPED / "pocket-llama", seed=seed)


def tiny_adapters(folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapters `lora` and `bilora` on a tiny model, which they name as their base."""
    base = save_tiny_model(folder / "tiny-base")
    for seed, name in enumerate(("lora", "bilora")):
        save_adapter(folder / name, base, seed=seed, size=0.05)


def registered(folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods that the page defines stand in the registry, as if their file and row were there."""
    for value in list(names.values()):
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == names["__name__"]:
            monkeypatch.setitem(METHODS, value.name, value)


SETUPS: dict[str, Callable[[Path, Names, pytest.MonkeyPatch], None]] = {
    setup.__name__: setup for setup in (trainer, loop, eager_compiler, adapters, tiny_adapters, registered)
}
