"""The command on a model folder, an adapter and a checkpoint with an auxiliary, as a user would call it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from analysis import FullSpace, Objective
from analysis.measure.__main__ import main
from analysis.measure.data import encode, make_batches, read_rows
from analysis.measure.loading import load
from analysis.operators import compiled_layers
from tests.models import byte_tokenizer, save_tiny_model

ROWS = [{"prompt": f"{i}+{i}=", "completion": str(2 * i)} for i in range(3, 9)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model, a trained adapter with an auxiliary beside it, and data."""
    folder = tmp_path_factory.mktemp("measure")
    base = save_tiny_model(folder / "base")
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"]))
    auxiliary = {}
    with torch.no_grad():
        for name, module in model.named_modules():
            if hasattr(module, "lora_B") and "default" in module.lora_B:
                module.lora_B["default"].weight.normal_(std=0.2)
                auxiliary[f"{name}.A"] = torch.randn(3, module.in_features)
                auxiliary[f"{name}.B"] = 0.01 * torch.randn(module.out_features, 3)
    model.save_pretrained(folder / "adapter")
    save_file(auxiliary, folder / "adapter" / "method_state.safetensors")
    data = folder / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    return {"base": base, "adapter": folder / "adapter", "data": data}


def run(files: dict[str, Path], out: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    named = {"--adapter": files["adapter"], "--model": files["base"], "--data": files["data"], "--out": out}
    small = {"--device": "cpu", "--examples": 6, "--block-size": 3, "--top": 2, "--max-products": 120}
    code = main([*(str(part) for pair in (named | small).items() for part in pair), *flags])
    path = out / "measure.json"
    return code, json.loads(path.read_text()) if path.is_file() else {}


def dense_top(files: dict[str, Path]) -> float:
    """The largest Hessian eigenvalue of the merged matrices by finite differences of float64 gradients, all columns."""
    loaded = load(str(files["base"]), str(files["adapter"]), dtype=torch.float64, device=torch.device("cpu"))
    rows = [encode(row, byte_tokenizer(), kind="causal", max_length=99) for row in read_rows(files["data"], count=6)]
    objective = Objective(loaded.model, make_batches(rows, size=6, pad_id=0))
    with FullSpace(loaded.model) as space:
        columns = []
        for block in space.tensors:
            for index in range(block.numel()):
                ends = []
                for sign in (1.0, -1.0):
                    with torch.no_grad():
                        block.view(-1)[index] += sign * 1e-5
                    ends.append(torch.cat([g.flatten() for g in objective.gradient(space.tensors)]))
                    with torch.no_grad():
                        block.view(-1)[index] -= sign * 1e-5
                columns.append((ends[0] - ends[1]) / 2e-5)
    dense = torch.stack(columns).numpy()
    return float(np.linalg.eigvalsh((dense + dense.T) / 2)[-1])


@pytest.mark.slow
def test_every_metric_in_every_kind_of_space(files: dict[str, Path], tmp_path: Path) -> None:
    metrics = "top,density,trace,sharpness,robustness,landscape,capture"
    code, record = run(
        files, tmp_path, "--spaces", "full,lora,auxiliary", "--metrics", metrics, "--points", "3",
        "--tolerance", "1e-3", "--draws", "2", "--dtype", "float64", "--score", "accuracy",
    )  # fmt: skip
    assert code == 0
    assert record["problems"] == {}
    curve = record["spaces"]["lora"]["robustness"]
    assert curve["metric"] == "accuracy"
    assert len(curve["metrics"]) == len(curve["alphas"]) == 6
    assert all(0 <= share <= 1 for share in curve["metrics"])
    full = record["spaces"]["full"]
    assert full["top"][0]["value"] == pytest.approx(dense_top(files), rel=1e-3)
    assert full["top"][0]["residual"] >= 0
    assert full["trace"]["standard_error"] >= 0
    assert set(full["worst_case"]) == {"absolute", "adaptive", "filter"}
    assert len(full["plane"]["losses"]) == 3
    assert full["capture"] is None
    assert 0 < record["spaces"]["lora"]["capture"]["ratio"] <= 1 + 1e-9
    assert -1 <= record["spaces"]["auxiliary"]["capture"]["adversary"]["quality"] <= 1
    assert len(record["spaces"]["auxiliary"]["capture"]["angles"]) == 4
    page = (tmp_path / "index.html").read_text()
    assert "largest eigenvalue 1" in page
    assert page.count("data:image/png") == 4 + 3
    assert "http" not in page.replace("http-equiv", "")


def test_a_stopped_measurement_goes_on_and_another_is_refused(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = run(files, tmp_path, "--metrics", "top", "--spaces", "full")
    code, second = run(files, tmp_path, "--metrics", "top,robustness", "--spaces", "full,lora")
    assert code == 0
    assert second["spaces"]["full"]["spectrum"] == first["spaces"]["full"]["spectrum"]
    assert "robustness" in second["spaces"]["lora"]
    capsys.readouterr()
    code, _ = run(files, tmp_path, "--metrics", "top", "--radius", "0.2")
    assert code == 2
    assert "settings.radius was 0.05, now 0.2" in capsys.readouterr().err


def test_the_ends_without_a_basis_are_those_with_one(files: dict[str, Path], tmp_path: Path) -> None:
    flags = ["--metrics", "top", "--spaces", "full", "--dtype", "float64", "--tolerance", "1e-6"]
    code, whole = run(files, tmp_path / "basis", *flags)
    assert code == 0
    code, ends = run(files, tmp_path / "none", *flags, "--basis-storage", "none", "--top", "1")
    assert code == 0
    for end in ("top", "bottom"):
        assert ends["spaces"]["full"][end][0]["value"] == pytest.approx(
            whole["spaces"]["full"][end][0]["value"], rel=1e-6
        )


def test_compiled_layers_find_the_same_eigenvalue(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_layers, "BACKEND", "aot_eager")
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    flags = ["--metrics", "top", "--spaces", "full", "--top", "1", "--bottom", "0", "--tolerance", "1e-3"]
    _, plain = run(files, tmp_path / "plain", *flags)
    code, found = run(files, tmp_path / "compiled", *flags, "--compile-layers", "yes")
    assert code == 0
    assert found["spaces"]["full"]["spectrum"]["route"]["reason"] == "compiled layers were asked for"
    first, second = (record["spaces"]["full"]["top"][0]["value"] for record in (plain, found))
    assert first == pytest.approx(second, rel=1e-3)


def test_a_part_that_cannot_be_measured_is_noted_and_the_others_go_on(files: dict[str, Path], tmp_path: Path) -> None:
    code, record = run(
        files, tmp_path, "--metrics", "top,robustness", "--spaces", "tangent,full", "--backend", "pyhessian"
    )
    assert code == 1
    assert "top" in record["problems"]["tangent"]
    assert record["spaces"]["full"]["spectrum"]["backend"] == "pyhessian"
    assert "robustness" in record["spaces"]["tangent"]
    assert "was not measured" in (tmp_path / "index.html").read_text()


def test_a_model_folder_alone(files: dict[str, Path], tmp_path: Path) -> None:
    flags = ["--model", str(files["base"]), "--data", str(files["data"]), "--out", str(tmp_path), "--device", "cpu"]
    assert (
        main([*flags, "--spaces", "layer:layers.0.mlp.down_proj", "--metrics", "top", "--operator", "gauss-newton"])
        == 0
    )
    (values,) = json.loads((tmp_path / "measure.json").read_text())["spaces"].values()
    assert values["bottom"][0]["value"] >= -1e-6 * values["top"][0]["value"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "nowhere"}, "--model: nowhere cannot be loaded"),
        (
            {"--adapter": "nowhere"},
            "--adapter: nowhere is not a folder; expected one that PEFT's save_pretrained wrote",
        ),
        ({"--data": "nowhere.jsonl"}, "--data: nowhere.jsonl cannot be read"),
        ({"--spaces": "layer:nothing"}, "nothing"),
        ({"--device": "cuda"}, "--device: cuda was asked for"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    change: dict[str, str],
    message: str,
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _ = run(files, tmp_path / "out", *[part for pair in change.items() for part in pair])
    assert code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_base_is_named(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((files["adapter"] / "adapter_config.json").read_text())
    weights = (files["adapter"] / "adapter_model.safetensors").read_bytes()
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    code, _ = run({**files, "adapter": folder}, tmp_path / "out")
    assert code == 2
    assert "does not fit the base model" in capsys.readouterr().err


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """Every number of a record by its place, clocks left out."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in numbers(part, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {k: v for index, part in enumerate(value) for k, v in numbers(part, f"{path}/{index}").items()}
    measured = isinstance(value, int | float) and not isinstance(value, bool) and not path.endswith("seconds")
    return {path: float(value)} if measured else {}


@pytest.mark.slow
def test_two_ranks_measure_what_one_process_measures(files: dict[str, Path], tmp_path: Path) -> None:
    """Three batches for two ranks; the first rank writes."""
    flags = ["--spaces", "full,lora", "--dtype", "float64", "--batch-size", "2", "--tolerance", "1e-6"]
    code, expected = run(files, tmp_path / "one", *flags)
    assert code == 0
    named = {"--adapter": files["adapter"], "--model": files["base"], "--data": files["data"]}
    small = {"--device": "cpu", "--examples": 6, "--block-size": 3, "--top": 2, "--max-products": 120}
    settings = [str(part) for pair in (named | small | {"--out": tmp_path / "two"}).items() for part in pair]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [*command, "-m", "analysis.measure", *settings, *flags],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.count("page:") == 1
    first, second = (
        numbers(expected["spaces"]),
        numbers(json.loads((tmp_path / "two" / "measure.json").read_text())["spaces"]),
    )
    assert first.keys() == second.keys()
    assert len(first) > 100
    for path, value in first.items():
        if not path.endswith("/asymmetry") and "residual" not in path:
            assert second[path] == pytest.approx(value, rel=1e-5, abs=1e-8), path
