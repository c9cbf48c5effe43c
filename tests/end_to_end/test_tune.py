"""`--tune` as a user runs it, on a tiny random model and a few steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.executors.choice import Inline
from benchmarks.tasks import Example
from benchmarks.tasks.pocket_math import PocketMath
from tests.models import save_tiny_model


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        *("--model", str(folder / "model"), "--out", str(folder / "out"), "--device", "cpu", "--threads", "1"),
        *("--steps", "4", "--batch-size", "4", "--learning-rate", "0.01", "--evaluations", "0", "--measure", "false"),
        *("--evaluation-examples", "4", "--test-examples", "4", "--methods", "lora,bilora", "--tune", "3", *more),
    ]


@pytest.mark.slow
def test_trials_never_read_the_test_split_and_the_final_runs_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    read: list[tuple[str, str]] = []
    carry_out, examples = Inline.run_all, PocketMath.examples
    phase = "planning"

    def noted(task: PocketMath, split: Any) -> tuple[Example, ...]:
        read.append((phase, split))
        return examples(task, split)

    def run_all(*args: Any, **kwargs: Any) -> int:
        nonlocal phase
        phase = kwargs["store"].folder.name
        return carry_out(*args, **kwargs)

    monkeypatch.setattr(PocketMath, "examples", noted)
    monkeypatch.setattr(Inline, "run_all", staticmethod(run_all))
    assert compare.main(arguments(tmp_path)) == 0
    assert {split for where, split in read if where != "out"} == {"train", "validation"}
    assert {split for where, split in read if where == "out"} == {"train", "validation", "test"}
    shown = capsys.readouterr().out
    assert "6 runs of tuning (2 methods x 1 tasks x 3 trials, scored on validation), then 2 final runs" in shown

    out = tmp_path / "out"
    searched = json.loads((out / "comparison.json").read_text())["tuning"]
    assert [(search["method"], search["runs"]) for search in searched] == [("lora", 3), ("bilora", 3)]
    assert {search["gradient_evaluations"] for search in searched} == {12}
    assert {path.name for path in (out / "tuning" / "runs").iterdir()} == {
        trial["key"] for search in searched for trial in search["trials"]
    }
    for search in searched:
        spec = json.loads(next((out / "runs").glob(f"pocket-math-{search['method']}-*/run.json")).read_text())["spec"]
        assert spec["learning_rate"] == search["trials"][search["chosen"]]["learning_rate"]
    for text in ((out / "report" / "index.html").read_text(), (out / "report" / "report.md").read_text()):
        assert "Settings tried on pocket-math" in text
        assert "Bi-LoRA, trial 3" in text
        assert "12 gradient evaluations" in text
        assert "(chosen)" in text
        assert "Every method had 3 trials" in text

    before = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    lost = out / "tuning" / "runs" / searched[1]["trials"][1]["key"]
    shutil.rmtree(lost)
    assert compare.main(arguments(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "5 of 6 runs are finished already and kept" in shown
    assert "2 of 2 runs are finished already and kept" in shown
    after = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    assert {path for path in after if before[path] != after[path]} == {lost / "run.json"}


def test_print_config_says_how_many_runs_it_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(arguments(tmp_path, "--print-config")) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith("# 6 runs of tuning")
    (tmp_path / "again.yaml").write_text(printed)
    assert compare.main(["--config", str(tmp_path / "again.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


def test_a_single_trial_is_no_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--tune", "1"]) == 2
    assert "--tune: found '1'; expected a whole number of at least 2" in capsys.readouterr().err
