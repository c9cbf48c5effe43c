from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import compare
from benchmarks.harness import measures, session
from tests.benchmarks.harness.yaml_tasks import save_choice_task
from tests.end_to_end.test_compare import arguments
from tests.models import save_tiny_model


def test_every_run_is_scored_on_one_base_and_the_scores_are_in_its_row_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    save_choice_task(tmp_path / "own")
    loads: list[Any] = []
    scored: list[Any] = []
    load, evaluate = session.load_base, measures.evaluate

    def loading(base: Any, **options: Any) -> Any:
        loads.append(base)
        return load(base, **options)

    def evaluating(model: Any, *given: Any, **options: Any) -> Any:
        scored.append(model)
        return evaluate(model, *given, **options)

    monkeypatch.setattr(session, "load_base", loading)
    monkeypatch.setattr(measures, "evaluate", evaluating)
    flags = arguments(tmp_path, "--methods", "lora,bilora,full-ft", "--measure", "false")
    extra = ["--score", "own-choice,pocket-math", "--score-include-path", str(tmp_path / "own"), "--score-limit", "3"]
    assert compare.main(flags) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("*/run.json")}
    assert compare.main([*flags, *extra]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # What full fine-tuning made is a base of its own.
    assert [Path(base.source).name for base in loads] == ["model", "adapter"]
    assert len(scored) == 6
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table[["lm-eval: own-choice", "lm-eval: own-choice standard error"]].notna().all(axis=None)
    # Our scorer and the harness, on the examples that both saw.
    for folder in (tmp_path / "out" / "runs").glob("*/examples.json"):
        ours = [example["score"] for example in json.loads(folder.read_text())[:3]]
        row = table[table["key"] == folder.parent.name].iloc[0]
        assert row["lm-eval: pocket-math"] == pytest.approx(sum(ours) / 3)
    markdown = (tmp_path / "out" / "report" / "report.md").read_text()
    assert "lm-eval: own-choice" in markdown
    assert "Only the first 3 examples of each task" in markdown
    assert "lm-eval: own-choice" in (tmp_path / "out" / "report" / "tables" / "comparison-pocket-math.csv").read_text()
    assert compare.main([*flags, *extra]) == 0
    assert len(scored) == 6
    assert "6 of 6 lm-eval scores are finished already and kept" in capsys.readouterr().out


def test_bad_tasks_are_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_model(tmp_path / "model")
    for name, message in (
        ("pocket-chat", "error: --score: pocket-chat cannot be an lm-eval task"),
        ("pocket-code", "error: --score: pocket-code runs what the model writes"),
    ):
        assert compare.main([*arguments(tmp_path), "--score", name]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out" / "runs").exists()


def test_a_score_that_fails_is_said_and_keeps_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")

    def failing(*given: Any, **options: Any) -> Any:
        raise RuntimeError("no answer")

    monkeypatch.setattr(measures, "evaluate", failing)
    flags = arguments(tmp_path, "--methods", "lora", "--measure", "false", "--score", "pocket-math")
    assert compare.main(flags) == 1
    assert "failed: no answer" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "results.csv")["method"].tolist() == ["lora"]
