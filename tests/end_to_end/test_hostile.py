"""Files of somebody else's that would run code, handed to every command that reads weights."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from analysis.measure.__main__ import main as measure
from benchmarks import compare, score
from benchmarks.reliability.adapter_target import write_small_adapter
from benchmarks.reliability.damage import pickled
from benchmarks.reliability.guard import watched
from bilora import SharpnessTrainer
from tests.models import save_tiny_model
from tests.tiny import as_batch, examples, tiny_llama


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path / "model")
    write_small_adapter(tmp_path / "adapter")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "abc"}) + "\n")
    return tmp_path


#: Command -> the folder whose weights it is given, and what is called with it.
COMMANDS: dict[str, tuple[str, Callable[[str], int]]] = {
    "compare --model": ("model", lambda folder: compare.main(["--model", folder, "--device", "cpu"])),
    "measure --model": ("model", lambda folder: measure(["--model", folder, "--data", "rows.jsonl"])),
    "measure --adapter": (
        "adapter",
        lambda folder: measure(["--model", "model", "--adapter", folder, "--data", "rows.jsonl"]),
    ),
    "score --base": (
        "model",
        lambda folder: score.main(["--base", "--model", folder, "--tasks", "pocket-math", "--device", "cpu"]),
    ),
    "score --adapter": (
        "adapter",
        lambda folder: score.main(
            ["--adapter", folder, "--model", "model", "--tasks", "pocket-math", "--device", "cpu"]
        ),
    ),
}
NAMES = {
    "model": ("model.safetensors", "pytorch_model.bin"),
    "adapter": ("adapter_model.safetensors", "adapter_model.bin"),
}


@pytest.mark.parametrize("disguised", [True, False])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pickle_is_refused_with_the_reason_and_never_read(
    command: str, disguised: bool, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = COMMANDS[command]
    safe, honest = NAMES[folder]
    (place / folder / safe).unlink()
    (place / folder / (safe if disguised else honest)).write_bytes(pickled())
    with watched(place, seconds=120) as reached:
        assert run(folder) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"error: --{folder}: ")
    assert "which can run any code when it is read; weights are read from safetensors only" in said[0]
    assert not (place / "unpickled").exists()
    assert not [entry for entry in reached if "pickle" in entry]


def test_code_of_a_models_repository_is_not_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((place / "model" / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (place / "model" / "config.json").write_text(json.dumps(config))
    (place / "model" / "own.py").write_text("from pathlib import Path\nPath('unpickled').mkdir()\n")
    for command in ("compare --model", "measure --model", "score --base"):
        assert COMMANDS[command][1]("model") == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (place / "unpickled").exists()


def resumed_from(checkpoint: Path, folder: Path) -> None:
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=2, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = SharpnessTrainer(
        tiny_llama(), arguments, method="full-ft", train_dataset=examples(16), data_collator=as_batch
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint.exists() else None)


def test_a_training_checkpoint_may_not_bring_pickles(place: Path) -> None:
    resumed_from(place / "none", place / "run")
    checkpoint = place / "run" / "checkpoint-1"
    bad = shutil.copytree(checkpoint, place / "bad" / "checkpoint-1")
    (bad / "optimizer.pt").write_bytes(pickled())
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        resumed_from(bad, place / "again")
    torch.save({}, bad / "optimizer.pt")
    (bad / "model.safetensors").unlink()
    (bad / "pytorch_model.bin").write_bytes(pickled())
    with pytest.raises(ValueError, match="holds its weights as a pickle, which can run any code"):
        resumed_from(bad, place / "again")
    assert not (place / "unpickled").exists()
