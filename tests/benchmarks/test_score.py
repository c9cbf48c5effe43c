from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import score
from benchmarks.harness import measures, session
from tests.adapters import save_adapter
from tests.benchmarks.harness.yaml_tasks import save_choice_task
from tests.models import save_tiny_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    save_tiny_model(folder / "base")
    for number in range(10):
        save_adapter(folder / f"adapter-{number}", folder / "base", seed=number)
    save_choice_task(folder / "own")
    return folder


def arguments(place: Path, out: Path, *more: str, adapters: int = 1) -> list[str]:
    folders = [str(place / f"adapter-{number}") for number in range(adapters)]
    return ["--adapter", *folders, "--out", str(out), "--device", "cpu", "--include-path", str(place / "own"), *more]


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "scores.csv").read_text().splitlines()))


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    original = getattr(module, name)

    def counting(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return original(*given, **named)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_ten_adapters_and_their_base_load_the_base_once(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads = counted(monkeypatch, session, "load_base")
    assert score.main(arguments(place, tmp_path, "--tasks", "own-choice", "--base", adapters=10)) == 0
    assert len(loads) == 1
    rows = rows_of(tmp_path)
    assert [row["subject"] for row in rows] == sorted(["base", *(f"adapter-{n}" for n in range(10))])
    assert all(row["metric"] == "acc" and row["standard_error"] for row in rows)
    printed = capsys.readouterr().out
    assert "adapter-9" in printed
    assert " ± " in printed
    record = json.loads(next((tmp_path / "scores").glob("own-choice-adapter-3-*/score.json")).read_text())
    assert record["spec"]["harness"].startswith("lm_eval 0.4")
    assert len(record["tasks"]["own-choice"]["hash"]) == 64
    assert {"torch", "lm_eval", "datasets"} <= record["environment"].keys()
    assert len(next((tmp_path / "scores").glob("*-adapter-3-*/samples/*.jsonl")).read_text().splitlines()) == 4


def test_finished_scores_are_kept_and_changed_adapters_are_scored_anew(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = counted(monkeypatch, measures, "evaluate")
    loads = counted(monkeypatch, session, "load_base")
    save_adapter(tmp_path / "mine", place / "base", seed=50)
    flags = [
        *arguments(place, tmp_path / "out", "--tasks", "own-choice", adapters=2),
        "--adapter",
        str(tmp_path / "mine"),
    ]
    assert score.main(flags) == 0
    assert (len(calls), len(loads)) == (3, 1)
    assert score.main(flags) == 0
    assert (len(calls), len(loads)) == (3, 1)
    assert "3 of 3 scores are finished already and kept" in capsys.readouterr().out
    save_adapter(tmp_path / "mine", place / "base", seed=51)
    assert score.main(flags) == 0
    assert (len(calls), len(loads)) == (4, 2)
    assert score.main([*flags, "--limit", "2"]) == 0
    assert len(calls) == 7
    assert sorted({row["examples"] for row in rows_of(tmp_path / "out")}) == ["2", "4"]


def test_a_score_that_fails_costs_itself_alone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original, asked = measures.evaluate, []

    def failing(*given: Any, **named: Any) -> Any:
        asked.append(given)
        if len(asked) == 1:
            raise torch.cuda.OutOfMemoryError("no room")
        return original(*given, **named)

    monkeypatch.setattr(measures, "evaluate", failing)
    assert score.main(arguments(place, tmp_path, "--tasks", "own-choice", adapters=2)) == 1
    assert "failed: out of memory; lower --batch-size: no room" in capsys.readouterr().err
    assert [row["subject"] for row in rows_of(tmp_path)] == ["adapter-1"]
    assert len(list((tmp_path / "failed").iterdir())) == 1
    monkeypatch.setattr(measures, "evaluate", original)
    assert score.main(arguments(place, tmp_path, "--tasks", "own-choice", adapters=2)) == 0
    assert list((tmp_path / "failed").iterdir()) == []


def test_an_interrupt_is_answered_calmly(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(measures, "evaluate", interrupted)
    assert score.main(arguments(place, tmp_path, "--tasks", "own-choice")) == 130
    assert "finished scores are kept" in capsys.readouterr().err
    assert list((tmp_path / "scores").iterdir()) == []


def test_a_base_alone_and_one_of_four_bits_are_scored(place: Path, tmp_path: Path) -> None:
    flags = ["--base", "--model", str(place / "base"), "--tasks", "own-choice", "--include-path", str(place / "own")]
    flags += ["--device", "cpu", "--out", str(tmp_path)]
    assert score.main(flags) == 0
    assert score.main([*flags, "--quantize", "nf4", "--dtype", "bfloat16"]) == 0
    keys = [row["key"] for row in rows_of(tmp_path)]
    assert len(set(keys)) == 2


def test_mt_bench_is_written_judged_and_read_back(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, judgements = tmp_path / "question.jsonl", tmp_path / "judgements.jsonl"
    questions.write_text(json.dumps({"question_id": 1, "category": "math", "turns": ["1+1?", "+1?"]}) + "\n")
    flags = arguments(place, tmp_path / "out", "--mt-bench", str(questions), "--mt-bench-tokens", "4")
    assert score.main(flags) == 0
    assert "answers written" in capsys.readouterr().out
    (answers,) = (tmp_path / "out").rglob("model_answer/adapter-0.jsonl")
    model = json.loads(answers.read_text())["model_id"]
    entries = [{"question_id": 1, "model": model, "turn": turn, "score": turn + 5} for turn in (1, 2)]
    judgements.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    only_read = ["--mt-bench-judgments", str(judgements), "--out", str(tmp_path / "out")]
    assert score.main(only_read) == 0
    assert "6.500 score" in capsys.readouterr().out
    assert rows_of(tmp_path / "out")[0]["value"] == "6.5"


def test_pocket_tasks_are_exported_for_any_harness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(["--export-pocket", str(tmp_path / "tasks")]) == 0
    assert str(tmp_path / "tasks" / "pocket-math.yaml") in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--tasks", "own-choice"], "--adapter: nothing to score"),
        (["--adapter", "ADAPTER"], "--tasks: nothing to score on"),
        (["--base", "--tasks", "own-choice"], "--base: which model?"),
        (["--adapter", "nowhere", "--tasks", "own-choice"], "--adapter: nowhere is not a folder"),
        (["--adapter", "ADAPTER", "--tasks", "own-choice", "--model", "pocket-llama"], "does not fit the base"),
        (["--adapter", "ADAPTER", "--tasks", "own-choice", "--model", "x/y/z"], "--model: the base 'x/y/z' is neither"),
        (["--adapter", "ADAPTER", "--tasks", "own-choice", "--limit", "0"], "--limit: found '0'"),
        (["--adapter", "ADAPTER", "--tasks", "own-choice", "--batch-size", "big"], "--batch-size: found 'big'"),
        (["--adapter", "ADAPTER", "--tasks", "own-choice", "--dtype", "int3"], "--dtype: found 'int3'"),
        (["--adapter", "ADAPTER", "--tasks", "pocket-chat"], "--tasks: pocket-chat cannot be an lm-eval task"),
        (["--adapter", "ADAPTER", "--tasks", "own-choice", "--apply-chat-template"], "has no chat template; leave the"),
        (["--adapter", "ADAPTER", "--mt-bench", "none.jsonl"], "--mt-bench: none.jsonl cannot be read"),
        (["--mt-bench-judgments", "none.jsonl"], "--mt-bench-judgments: none.jsonl cannot be read"),
        (["--adaptor", "x"], "unrecognized arguments: --adaptor"),
    ],
)
def test_bad_input_is_one_line_before_any_model_is_loaded(
    changes: list[str],
    message: str,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    loads = counted(monkeypatch, session, "load_base")
    given = [str(place / "adapter-0") if text == "ADAPTER" else text for text in changes]
    assert score.main([*given, "--device", "cpu", "--include-path", str(place / "own")]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert message in output.err
    assert loads == []


def test_code_is_refused_without_the_flag(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(arguments(place, tmp_path, "--tasks", "pocket-code")) == 2
    assert "say --confirm-run-unsafe-code to allow it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_kill_loses_no_finished_score(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.score"]
    command += arguments(place, tmp_path, "--tasks", "pocket-math", "--limit", "12", "--threads", "1", adapters=4)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    process = start()
    while process.poll() is None and not list((tmp_path / "scores").glob("pocket-*/score.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {str(path): path.stat().st_mtime_ns for path in (tmp_path / "scores").glob("pocket-*/score.json")}
    assert 1 <= len(kept) < 4
    assert start().wait() == 0
    now = {str(path): path.stat().st_mtime_ns for path in (tmp_path / "scores").glob("*/score.json")}
    assert len(now) == 4
    assert kept.items() <= now.items()
    assert len(list((tmp_path / "scores").iterdir())) == 4
