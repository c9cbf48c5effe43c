from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.multi_gpu import main


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shape", "llama-3.1-8"], "--shape: unknown 'llama-3.1-8', did you mean 'llama-3.1-8b'?"),
        (["--modes", "dpp"], "--modes: unknown 'dpp', did you mean 'ddp'?"),
        (["--against", "nowhere.json"], "--against: nowhere.json is no file"),
        (["--against", "README.md"], "--against: README.md is no JSON"),
        (["--against", "benchmarks/results/reliability.json"], "reliability.json holds no records of this command"),
        (["--steps", "0"], "--steps: found '0'"),
        ([], "start this with torchrun"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    assert message in capsys.readouterr().err


def launched(ranks: int, out: Path, *flags: str) -> dict[str, list[dict[str, float]]]:
    small = "--shape tiny --device cpu --tokens 16 --steps 3 --rows 2 --curvature-rows 4 --sharded-rows 2 --products 8"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "benchmarks.multi_gpu", *small.split(), "--methods", "bilora", "--out", str(out), *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    records: dict[str, list[dict[str, float]]] = json.loads(out.read_text())
    return records


@pytest.mark.slow
def test_two_ranks_agree_with_the_reference_of_one(tmp_path: Path) -> None:
    one = launched(1, tmp_path / "one.json", "--modes", "ddp,graphed")
    assert [record["way"] for record in one["curvature"]] == ["one"]
    two = launched(2, tmp_path / "two.json", "--modes", "ddp,graphed,fsdp2", "--against", str(tmp_path / "one.json"))
    assert [record["mode"] for record in two["training"]] == ["ddp", "graphed", "fsdp2"]
    for record in two["training"]:
        assert record["largest_loss_difference"] < 1e-6
        assert record["efficiency"] > 0
    assert [record["way"] for record in two["curvature"]] == ["replicated", "sharded"]
    for record in two["curvature"]:
        assert record["compared_after"] == 8
        assert record["relative_difference"] < 1e-5
