"""A preset with two parts and cases as it is run: two folders, two reports, published numbers beside measured ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.presets import catalogue
from tests.models import save_tiny_model, save_tiny_t5
from tests.real_data import write_cola

PRESET = """
description: a preset for a tiny model
source: [Table A4]
settings:
  model: {model}
  tasks: [pocket-math]
  methods: [lora, bilora]
  device: cpu
  threads: 1
  steps: 2
  batch_size: 4
  evaluations: 0
  test_examples: 2
  evaluation_examples: 2
  measure: false
cases:
  - {{methods: [bilora], learning_rate: 0.02}}
published:
  - {{table: A4, model: T5-base, task: cola, run: pocket-math, measured: score}}
our_choice: {{task: another one than the paper's}}
parts:
  small: {{settings: {{options: {{bilora: {{rho: 0.01}}}}}}, names: {{bilora: bilora(rho=0.01)}}}}
  large: {{settings: {{options: {{bilora: {{rho: 0.2}}}}}}, names: {{bilora: bilora(rho=0.2)}}}}
"""


def test_every_part_has_its_runs_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "tableA4-tiny.yaml").write_text(PRESET.format(model=save_tiny_model(tmp_path / "model")))
    monkeypatch.setattr(catalogue, "FOLDER", presets)
    catalogue.load.cache_clear()
    arguments = ["--preset", "tableA4-tiny", "--out", str(tmp_path / "out")]
    try:
        assert compare.main(arguments) == 0
        capsys.readouterr()
        assert compare.main([*arguments, "--dry-run"]) == 0
        planned = capsys.readouterr().out
    finally:
        catalogue.load.cache_clear()
    assert planned.count("1 of 1") == 4
    assert "runs have no estimate" in planned
    for part, rho, value in (("small", 0.01, 60.15), ("large", 0.2, 58.95)):
        folder = tmp_path / "out" / part
        comparison = json.loads((folder / "comparison.json").read_text())
        assert (comparison["preset"]["name"], comparison["preset"]["part"]) == ("tableA4-tiny", part)
        assert "bilora: learning_rate 0.02" in comparison["conventions"]["Preset"]
        specs = {
            record["spec"]["method"]: record["spec"]
            for record in (json.loads(path.read_text()) for path in folder.glob("runs/*/run.json"))
        }
        assert specs["bilora"]["options"]["rho"] == rho
        assert specs["bilora"]["learning_rate"] == 0.02 != specs["lora"]["learning_rate"]
        # What a preset is called is no part of what is computed.
        assert "preset" not in specs["bilora"]
        with (folder / "report" / "tables" / "published-pocket-math.csv").open() as stream:
            rows = {row["method"]: row for row in csv.DictReader(stream)}
        assert float(rows["bilora"]["published"]) == value
        assert float(rows["bilora"]["measured"]) - value == pytest.approx(float(rows["bilora"]["difference"]))
        assert (rows["lora"]["published"], rows["lora"]["reason"]) == (
            "",
            "the paper prints no number for this method here",
        )
        assert f"preset tableA4-tiny ({part})" in (folder / "report" / "index.html").read_text()


@pytest.mark.slow
def test_a_preset_of_the_paper_runs_on_a_tiny_model_and_local_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cola(tmp_path / "data" / "glue-cola")
    model = save_tiny_t5(tmp_path / "model")
    arguments = [
        *(
            "--preset",
            "tableA2-t5-glue",
            "--tasks",
            "glue-cola",
            "--model",
            str(model),
            "--data",
            str(tmp_path / "data"),
        ),
        *("--out", str(tmp_path / "out"), "--device", "cpu", "--threads", "1", "--seeds", "1", "--batch-size", "32"),
        *("--evaluations", "0", "--evaluation-examples", "2", "--test-examples", "2"),
    ]
    assert compare.main([*arguments, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert planned.count("0 of 1") == 4
    assert compare.main(arguments) == 0
    specs = {
        record["spec"]["method"]: record["spec"]
        for record in (json.loads(path.read_text()) for path in (tmp_path / "out").glob("runs/*/run.json"))
    }
    assert set(specs) == {"full-ft", "lora", "lora-sam", "bilora"}
    assert (specs["full-ft"]["learning_rate"], specs["bilora"]["learning_rate"]) == (1e-4, 5e-4)
    assert {spec["max_length"] for spec in specs.values()} == {256}
    # Ten epochs of the rows of the local copy, the same in plan and run.
    steps = {spec["steps"] for spec in specs.values()}
    assert len(steps) == 1
    assert f"{steps.pop():,}" in planned
    with (tmp_path / "out" / "report" / "tables" / "published-glue-cola.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["table"], row["unit"]) for row in rows} == {("A2", "%"), ("A14", "s")}
    assert all(row["measured"] and row["published"] for row in rows)
    capsys.readouterr()
    assert compare.main([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("1 of 1") == 4
