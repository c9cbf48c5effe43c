from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import step_cost, timed_model
from benchmarks.efficiency import main
from benchmarks.model_shapes import SHAPES, language_batch
from bilora import method_names
from tests.models import save_tiny_model
from tests.tiny import tiny_llama


def test_every_method_can_be_timed(tmp_path: Path) -> None:
    folder, out = save_tiny_model(tmp_path / "m"), tmp_path / "cost.json"
    flags = ["--model", str(folder), "--shape", "4x8", "--rounds", "10", "--warm-up", "0", "--out", str(out)]
    assert main([*flags, "--methods", ",".join(method_names()), "--paths", "fused"]) == 0
    records = json.loads(out.read_text())["records"]
    assert [r["method"] for r in records] == ["peft-lora", "floor", *method_names()]
    assert all(r["step_ms"] > 0 for r in records)


def test_records_name_paths_and_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_tiny_model(tmp_path / "m")
    out = tmp_path / "cost.json"
    flags = ["--model", str(folder), "--shape", "2x8", "--rounds", "10", "--warm-up", "0", "--out", str(out)]
    assert main([*flags, "--methods", "lora,bilora"]) == 0
    record = json.loads(out.read_text())
    assert [(r["method"], r["path"]) for r in record["records"]] == [
        ("peft-lora", "stock"),
        ("floor", "stock"),
        ("lora", "stock"),
        ("bilora", "stock"),
        ("lora", "fused"),
        ("bilora", "fused"),
    ]
    first = record["records"][0]
    assert first["ratio_to_stock_lora"] == 1.0
    assert first["step_ms_low"] <= first["step_ms"] <= first["step_ms_high"]
    assert first["ratio_to_our_lora"] is None
    assert [r["ratio_to_our_lora"] for r in record["records"] if r["method"] == "lora"] == [1.0, 1.0]
    assert record["records"][1]["ratio_to_floor"] == 1.0
    assert all(r["tokens_per_second"] == pytest.approx(16e3 / r["step_ms"]) for r in record["records"])
    assert "x PEFT LoRA" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods", "bilor"], "--methods: unknown method 'bilor', did you mean 'bilora'?"),
        (["--shapes", "8x8,16"], "--shapes: found '16'; expected ROWSxTOKENS"),
        (["--shapes", "8x16²"], "--shapes: found '8x16²'; expected ROWSxTOKENS"),
        (["--rounds", "1"], "--rounds: found '1'; expected a whole number of at least 10"),
        (["--rounds", "12"], "--rounds: found 12; expected a multiple of 5"),
        (["--paths", "fast"], "--paths: unknown path 'fast'; expected stock, fused, compiled or graphed"),
        (["--paths", "graphed"], "--paths: 'graphed' needs a CUDA device"),
        (["--model", "llama-2-7b", "--weights", "trained"], "--weights: found 'trained', but llama-2-7b is a shape"),
        (["--model", "llama-3-8b"], "--model: 'llama-3-8b' is neither a folder nor a known model, did you mean"),
        (["--model", "llama-2-7b", "--layers", "99"], "--layers: found 99; expected at most 32"),
        (["--out", "/tmp"], "--out: /tmp is a folder; expected the name of a file"),
        (["--layers", "2"], "--layers: found 2; only published shapes can be cut"),
        (
            ["--model", "sdxl-unet", "--shapes", "2x60"],
            "--shapes: a UNet's tokens are its latents, a square of a multiple of 4; found 60",
        ),
        (["--device", "gpu"], "--device: found 'gpu'"),
        (["--model", "nowhere"], "--model: 'nowhere'"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--out", "/nowhere/x.json"], "--out: the folder of /nowhere/x.json does not exist"),
    ],
)
def test_bad_flags(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    assert message in capsys.readouterr().err


def test_a_shape_is_timed_layer_by_layer_and_beside_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(SHAPES["llama-3.1-8b"], build=tiny_build, batch=language_batch(32))
    monkeypatch.setitem(SHAPES, "llama-3.1-8b", tiny)
    out = tmp_path / "cost.json"
    flags = ["--model", "llama-3.1-8b", "--shapes", "2x4,2x8", "--layers", "1", "--rounds", "10", "--device", "cpu"]
    assert main([*flags, "--methods", "bilora", "--paths", "fused", "--warm-up", "0", "--out", str(out)]) == 0
    records = json.loads(out.read_text())["records"]
    assert [r["shape"] for r in records] == ["2x4"] * 3 + ["2x8"] * 3
    assert {r["model"] for r in records} == {"llama-3.1-8b, 1 layers"}
    shown = capsys.readouterr().out
    assert "paper, Table 7 and Table A17" in shown
    assert "1.09" in next(line for line in shown.splitlines() if "bilora" in line and "fused  " in line)


def test_what_cannot_fit_is_refused_before_it_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed_model, "available_bytes", lambda _: 10**9)
    assert main(["--model", "llama-2-7b", "--shapes", "1x16", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "--model llama-2-7b --shapes 1x16: needs at least 27." in error
    assert "1.0 GB of cpu memory are free" in error


@pytest.mark.parametrize("when", ["made", "first", "later"])
def test_a_variant_that_fails_loses_nothing(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def failing(*_: Any, **__: Any) -> Any:
        def step(batch: Any) -> None:
            taken.append(batch)
            if when == "first" or len(taken) > 3:
                raise torch.OutOfMemoryError("no memory\nand more")

        if when == "made":
            raise torch.OutOfMemoryError("no memory\nand more")
        return step

    monkeypatch.setattr(step_cost, "method_step", failing)
    out = tmp_path / "cost.json"
    flags = ["--model", str(save_tiny_model(tmp_path / "m")), "--shapes", "2x8", "--rounds", "10", "--warm-up", "0"]
    assert main([*flags, "--methods", "lora", "--paths", "fused", "--out", str(out)]) == 0
    records = {r["method"]: r for r in json.loads(out.read_text())["records"]}
    assert records["lora"]["error"] == "no memory"
    assert records["lora"]["step_ms"] is None
    assert records["peft-lora"]["step_ms"] > 0


def tiny_build(dtype: torch.dtype, layers: int | None) -> Any:
    model = tiny_llama()
    if layers is not None:
        model.model.layers = model.model.layers[:layers]
        model.config.num_hidden_layers = layers
    return model.to(dtype)
