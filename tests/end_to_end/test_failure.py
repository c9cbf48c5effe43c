"""What goes wrong while a comparison runs, as the user of the command meets it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks import compare
from benchmarks.run_trainer import RunTrainer
from tests.end_to_end.test_compare import arguments
from tests.models import save_tiny_model

TIMINGS = ["step_seconds", "step_gradients", "peak_memory_bytes"]
QUICK = ("--measure", "false")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_model(tmp_path / "model")
    return tmp_path


def disturb(monkeypatch: pytest.MonkeyPatch, disturbance: Callable[[Any, dict[str, Any], Any], Any]) -> None:
    """Let every loss of training go through a function of the trainer, the batch and the loss."""
    original = RunTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return disturbance(self, inputs, lambda: original(self, model, inputs, *args, **kwargs))

    monkeypatch.setattr(RunTrainer, "compute_loss", compute_loss)


def record_of(folder: Path, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        next((folder / "runs").glob(f"pocket-math-{method}-seed0-*/run.json")).read_text()
    )
    return found


def test_a_run_out_of_memory_goes_on_with_half_the_micro_batch_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small_memory(trainer: Any, inputs: dict[str, Any], loss: Callable[[], Any]) -> Any:
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return loss()

    with monkeypatch.context() as patch:
        disturb(patch, small_memory)
        assert compare.main(arguments(folder, *QUICK, "--methods", "lora,bilora")) == 0
    assert "out of memory with --micro-batch-size 4; begun again with 2" in capsys.readouterr().err
    record = record_of(folder / "out", "bilora")
    # The key and the specification keep what was asked for, the record says what was done.
    assert record["spec"]["micro_batch_size"] == 4
    assert record["micro_batch_size"] == {"asked": 4, "used": 2}
    page = (folder / "out" / "report" / "index.html").read_text()
    assert "ran out of memory with micro-batches of 4 and was trained with 2" in page
    # It is the run that was asked for with the smaller micro-batch, to the last digit.
    asked = arguments(folder, *QUICK, "--methods", "lora,bilora", "--micro-batch-size", "2")
    asked[asked.index("--out") + 1] = str(folder / "asked")
    assert compare.main(asked) == 0
    tables = [pd.read_csv(folder / out / "results.csv").drop(columns=[*TIMINGS, "key"]) for out in ("out", "asked")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.slow
def test_a_run_that_fits_in_no_way_fails_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory(trainer: Any, inputs: dict[str, Any], loss: Callable[[], Any]) -> Any:
        if trainer.method.name == "bilora":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss()

    disturb(monkeypatch, no_memory)
    assert compare.main(arguments(folder, *QUICK, "--methods", "lora,bilora")) == 1
    noted = json.loads(next((folder / "out" / "failed").glob("*.json")).read_text())
    assert noted["kind"] == "out-of-memory"
    assert noted["message"].startswith("out of memory; lower --micro-batch-size (now 4, and its halves were tried)")
    assert pd.read_csv(folder / "out" / "results.csv")["method"].tolist() == ["lora"]


def test_a_run_that_diverges_ends_at_once_and_the_report_marks_the_hole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[int] = []

    def diverging(trainer: Any, inputs: dict[str, Any], loss: Callable[[], Any]) -> Any:
        if trainer.method.name != "bilora":
            return loss()
        steps.append(trainer.state.global_step + 1)
        return loss() * (math.nan if trainer.state.global_step == 1 else 1.0)

    disturb(monkeypatch, diverging)
    assert compare.main(arguments(folder, *QUICK, "--methods", "bilora,lora")) == 1
    assert set(steps) == {1, 2}  # of four
    noted = json.loads(next((folder / "out" / "failed").glob("*.json")).read_text())
    assert (noted["stage"], noted["kind"], noted["step"]) == ("train", "diverged", 2)
    assert "training diverged: the loss is nan at step 2" in noted["message"]
    assert pd.read_csv(folder / "out" / "results.csv")["method"].tolist() == ["lora"]
    for name in ("index.html", "report.md"):
        assert "training diverged: the loss is nan at step 2" in (folder / "out" / "report" / name).read_text()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB, where this machine lets one be made."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(
            "this machine lets no file system be mounted; tests/benchmarks/test_storage.py has an injected error"
        )
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_once_there_is_room(
    folder: Path, tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = arguments(folder, *QUICK, "--methods", "lora,bilora,lora-sam", "--checkpoint-every", "1")
    flags[flags.index("--out") + 1] = str(tiny_disk / "out")
    assert compare.main(flags) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "no space left on the device; finished runs are kept" in said[0]
    assert not list((tiny_disk / "out" / "runs").glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    assert compare.main(flags) == 0
    assert len(pd.read_csv(tiny_disk / "out" / "results.csv")) == 3


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare.main(arguments(folder, *QUICK, "--methods", "lora")) == 0
    jumping = [2e9]

    def jump() -> float:
        jumping[0] -= 1000.0
        return jumping[0]

    again = arguments(folder, *QUICK, "--methods", "lora", "--checkpoint-every", "0.001s")
    again[again.index("--out") + 1] = str(folder / "jumped")
    monkeypatch.setattr(time, "time", jump)
    assert compare.main(again) == 0
    tables = [pd.read_csv(folder / out / "results.csv") for out in ("out", "jumped")]
    pd.testing.assert_frame_equal(*(t.drop(columns=TIMINGS) for t in tables), check_exact=True)
    assert 0 < tables[1]["step_seconds"][0] < 100
    assert all(0 <= seconds < 100 for seconds in record_of(folder / "jumped", "lora")["seconds"].values())


@pytest.mark.slow
def test_no_secret_of_the_environment_is_written_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = "hf_markerThatNobodyWrites"
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MY_OWN"):
        monkeypatch.setenv(name, marker)

    def failing(trainer: Any, inputs: dict[str, Any], loss: Callable[[], Any]) -> Any:
        if trainer.method.name == "bilora":
            raise RuntimeError("something else")
        return loss()

    disturb(monkeypatch, failing)
    flags = arguments(folder, *QUICK, "--methods", "lora,bilora", "--checkpoint-every", "1")
    kept: list[bytes] = []
    replaced = os.replace

    def kept_before(*args: Any, **kwargs: Any) -> None:  # checkpoints are gone at the end
        kept.extend(p.read_bytes() for p in (folder / "out" / "checkpoints").rglob("*") if p.is_file())
        replaced(*args, **kwargs)

    monkeypatch.setattr(os, "replace", kept_before)
    assert compare.main(flags) == 1
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert kept
    assert not any(marker.encode() in content for content in (*written, *kept))
    printed = capsys.readouterr()
    assert marker not in printed.out + printed.err
