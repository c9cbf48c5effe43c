"""The Python snippets of the README run as they are printed, and so do its commands for scoring."""

from __future__ import annotations

import logging
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from benchmarks import score
from benchmarks.models import SHIPPED
from bilora import compiled
from tests.adapters import save_adapter
from tests.tiny import as_batch, examples, tiny_llama

README = Path(__file__).parents[2] / "README.md"
SCORING = re.findall(r"^python -m benchmarks\.score (.*)$", README.read_text(), flags=re.MULTILINE)
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_snippets_train_export_and_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "model": tiny_llama(),
        "training_arguments": TrainingArguments(
            output_dir="run", max_steps=2, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no"
        ),
        "dataset": examples(),
        "collator": as_batch,
    }
    trainer, loop, measurement, fast = SNIPPETS
    exec(trainer, names)
    assert Path("adapter/adapter_model.safetensors").is_file()
    assert not Path("adapter/auxiliary").exists()
    names = {"model": tiny_llama(), "batches": [as_batch(examples()) for _ in range(3)]}
    exec(loop, names)
    assert names["method"].cost.gradients == 3
    exec(measurement, names)
    assert names["flatness"].spaces["full"].top[0].value > names["flatness"].spaces["full"].bottom[0].value
    # Making kernels takes a minute; the tracer looks at `.grad` of whatever it is given.
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    logging.getLogger("torch.__trace").disabled = True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
        exec(fast, names)
    assert names["method"].cost.gradients == 6


def test_adapters_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first command, on a few examples; the other one needs a network, and is read."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("lora", "bilora")):
        save_adapter(Path(name), SHIPPED / "pocket-llama", seed=seed)
    local, stock = (shlex.split(line) for line in SCORING)
    assert score.main([*local, "--limit", "2", "--device", "cpu"]) == 0
    table = Path("scores/scores.csv").read_text()
    assert all(f"{name}," in table for name in ("base", "lora", "bilora", "pocket-math", "pocket-instruct"))
    assert score._parser().parse_args(stock).confirm_run_unsafe_code
