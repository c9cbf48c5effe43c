from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from benchmarks.efficiency import main
from benchmarks.step_timing import blocks, time_steps
from bilora import method_names
from tests.models import save_tiny_model


def test_rounds_are_interleaved_and_timed() -> None:
    order: list[str] = []

    def step(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    steps = {"a": lambda: step("a", 0.001), "b": lambda: step("b", 0.02)}
    seconds = time_steps(steps, rounds=3, warm_up=1, device=torch.device("cpu"))
    assert order == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert min(seconds["b"]) >= 0.02 > min(seconds["a"]) >= 0.001


def test_blocks_hold_what_comes_every_fifth_step() -> None:
    assert blocks([6.0, 1.0, 1.0, 1.0, 1.0] * 2) == [2.0, 2.0]


def test_every_method_can_be_timed(tmp_path: Path) -> None:
    folder, out = save_tiny_model(tmp_path / "m"), tmp_path / "cost.json"
    flags = ["--model", str(folder), "--shape", "4x8", "--rounds", "10", "--warm-up", "0", "--out", str(out)]
    assert main([*flags, "--methods", ",".join(method_names()), "--paths", "fused"]) == 0
    records = json.loads(out.read_text())["records"]
    assert [r["method"] for r in records] == ["peft-lora", *method_names()]
    assert all(r["step_ms"] > 0 for r in records)


def test_records_name_paths_and_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_tiny_model(tmp_path / "m")
    out = tmp_path / "cost.json"
    flags = ["--model", str(folder), "--shape", "2x8", "--rounds", "10", "--warm-up", "0", "--out", str(out)]
    assert main([*flags, "--methods", "lora,bilora"]) == 0
    record = json.loads(out.read_text())
    assert [(r["method"], r["path"]) for r in record["records"]] == [
        ("peft-lora", "stock"),
        ("lora", "stock"),
        ("bilora", "stock"),
        ("lora", "fused"),
        ("bilora", "fused"),
    ]
    first = record["records"][0]
    assert first["ratio_to_stock_lora"] == 1.0
    assert first["step_ms_low"] <= first["step_ms"] <= first["step_ms_high"]
    assert record["records"][3]["ratio_to_our_lora"] == 1.0
    assert "x PEFT LoRA" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods", "bilor"], "--methods: unknown method 'bilor', did you mean 'bilora'?"),
        (["--shape", "16"], "--shape: found '16'; expected ROWSxTOKENS"),
        (["--rounds", "1"], "--rounds: found '1'; expected a whole number of at least 10"),
        (["--rounds", "12"], "--rounds: found 12; expected a multiple of 5"),
        (["--paths", "fast"], "--paths: unknown path 'fast'; expected stock or fused"),
        (["--model", "nowhere"], "--model: 'nowhere'"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--out", "/nowhere/x.json"], "--out: the folder of /nowhere/x.json does not exist"),
    ],
)
def test_bad_flags(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    assert message in capsys.readouterr().err
