"""A comparison over two ranks of one machine, as torchrun starts it: its folders are those of one process."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import compare
from tests.models import save_tiny_model

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Clocks, memory, and what a run says of itself, not of its result.
OF_THE_MACHINE = {"step_seconds", "step_gradients", "peak_memory_bytes", "key"}


def arguments(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("--model", str(folder / "model"), "--out", str(folder / out), "--device", "cpu", "--threads", "1"),
        *(
            "--methods",
            "bilora",
            "--baseline",
            "bilora",
            "--steps",
            "4",
            "--batch-size",
            "4",
            "--micro-batch-size",
            "2",
        ),
        *("--learning-rate", "0.01", "--evaluations", "2", "--evaluation-examples", "5", "--test-examples", "5"),
        *("--measure-examples", "5", "--max-products", "30", *more),
    ]


def launched(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*TORCHRUN, "-m", "benchmarks.compare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in (folder / "runs").glob("*/run.json")}


@pytest.mark.slow
def test_run_folders_equal_those_of_one_process(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    assert compare.main(arguments(tmp_path, "one")) == 0
    found = launched(arguments(tmp_path, "two"))
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.count("report:") == 1
    one, two = runs(tmp_path / "one"), runs(tmp_path / "two")
    assert one.keys() == two.keys()
    assert not list((tmp_path / "two" / "runs").glob(".unfinished*"))
    for key, run in one.items():
        assert two[key]["environment"]["ranks"] == 2
        for column, value in run["row"].items():
            other = two[key]["row"][column]
            if column in OF_THE_MACHINE:
                continue
            if isinstance(value, float):
                assert math.isclose(other, value, rel_tol=2e-3, abs_tol=1e-6), (column, value, other)
            else:
                assert other == value, column
        folders = [tmp_path / out / "runs" / key for out in ("one", "two")]
        adapters = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in folders]
        for name, value in adapters[0].items():
            torch.testing.assert_close(adapters[1][name], value, rtol=1e-3, atol=1e-5)
        names = [sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) for folder in folders]
        assert names[0] == names[1]
    again = launched(arguments(tmp_path, "two"))
    assert again.returncode == 0
    assert "1 of 1 runs are finished already and kept" in again.stdout


def test_a_batch_that_ranks_cannot_share_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    assert compare.main(arguments(tmp_path, "out")) == 2
    assert "3 ranks cannot share equally" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
