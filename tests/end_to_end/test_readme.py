"""The Python snippets of the README run as they are printed."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from bilora import compiled
from tests.tiny import as_batch, examples, tiny_llama

README = Path(__file__).parents[2] / "README.md"
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
