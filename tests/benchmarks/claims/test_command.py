"""The board from end to end, on a tiny random model and a few steps, with real workers."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.claims import __main__ as claims
from benchmarks.claims import ablation, options
from benchmarks.claims.board import summary
from benchmarks.claims.scope import Arm
from benchmarks.settings import CompareSettings
from tests.models import save_tiny_model

README = Path(__file__).parents[3] / "README.md"
COMMITTED = Path(claims.__file__).parents[1] / "results" / "claims.json"
SMALL = CompareSettings(
    batch_size=4, learning_rate=0.01, evaluations=0, evaluation_examples=4, measure_examples=4, max_products=30
)
DIVERGING = Arm("bilora", (("rho", 1e30), ("auxiliary_learning_rate", 1e30)))


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    save_tiny_model(tmp_path / "model")
    monkeypatch.setattr(options, "DEFAULTS", SMALL)
    small = ["--steps", "8", "--test-examples", "4", "--seeds", "2", "--tasks", "pocket-math"]
    places = ["--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    return [*small, *places, "--workers", "2", "--threads", "1"]


def board(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "claims.json").read_text())
    return found


@pytest.mark.slow
def test_a_failing_run_leaves_its_claim_open_and_the_same_command_goes_on(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*arguments, "--claims", "cross-term,clip"]
    monkeypatch.setattr(ablation, "CLIPS", ((DIVERGING, "it beats one that diverges"),))
    assert claims.main(command) == 1
    shown = capsys.readouterr()
    assert shown.err.count("failed (train): training diverged") == 2
    assert "[6/6] " in shown.out
    lines = {claim["group"]: claim for claim in board(tmp_path)["claims"]}
    assert lines["clip"]["verdict"] == "undecided here"
    assert "failed (train): training diverged" in lines["clip"]["reason"]
    assert lines["clip"]["measured"] is None
    assert lines["clip"]["runs"] == 2  # the partner's, of which nothing is lost
    small = lines["cross-term"]
    assert small["reason"] is None
    assert 0.0 < small["low"] < small["measured"] < small["high"]
    assert (small["runs"], small["seeds"], len(small["keys"])) == (2, 2, 2)
    page = (tmp_path / "out" / "claims.html").read_text()
    assert "training diverged" in page
    assert "http" not in page
    assert small["claim"] in (tmp_path / "out" / "claims.md").read_text()

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("*/run.json")}
    monkeypatch.setattr(ablation, "CLIPS", ((Arm("bilora", (("clip", "none"),)), "one clip beats none"),))
    assert claims.main(command) == 0
    assert "4 of 6 runs are finished already and kept" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    lines = {claim["group"]: claim for claim in board(tmp_path)["claims"]}
    assert lines["clip"]["reason"] is None
    assert lines["clip"]["runs"] == 4
    assert lines["cross-term"] == small

    assert claims.main([*command, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert planned.count("finished pocket-math-") == 6
    assert "6 runs, 6 finished; the rest takes about 0 min with 2 at once" in planned


def test_only_runs_whose_sharpness_is_asked_for_measure_it(arguments: list[str]) -> None:
    read = options.read_options(arguments)
    specs = claims.needed(claims.all_questions(read.scope, read.groups), read.scope)
    observed = {spec.label for spec in specs if spec.measurement is not None}
    assert observed == {"lora", "lora-sam", "bilora"}
    assert sum(spec.measurement is not None for spec in specs) == 6  # three methods, two seeds
    assert all((spec.dynamics is None) == (spec.measurement is None) for spec in specs)
    assert len({spec.key for spec in specs}) == len(specs)
    # Asking for less does not change a key.
    fewer = options.read_options([*arguments, "--claims", "clip"])
    assert {s.key for s in claims.needed(claims.all_questions(fewer.scope, fewer.groups), fewer.scope)} < {
        spec.key for spec in specs
    }


def test_a_board_that_the_disk_refuses_is_answered_in_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path, record: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(claims, "_run", lambda *given: 0)
    monkeypatch.setattr(claims, "write_board", full)
    assert claims.main([*arguments, "--claims", "clip"]) == 1
    shown = capsys.readouterr().err
    assert "cannot be written: no space left on the device" in shown
    assert shown.count("\n") == 1


def test_listing_runs_nothing(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims.main([*arguments, "--list"]) == 0
    assert "holds between -1.4 and 1.4 points" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--claims", "flatnes"], "--claims: unknown claim 'flatnes', did you mean 'flatness'?"),
        (["--tasks", "pocket-mat"], "--tasks: unknown task 'pocket-mat'"),
        (["--tasks", "glue-cola"], "--tasks: glue-cola reads data that do not ship with the project; the board takes"),
        (["--seeds", "0"], "--seeds: found '0'"),
        (["--workers", "two"], "--workers: found 'two'"),
        (["--model", "pocket-lama"], "--model: 'pocket-lama' is neither a folder nor a shipped model"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], changes: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claims.main([*arguments, *changes]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {message}")
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_task_that_cannot_be_run_here_leaves_the_pool(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read = options.read_options(arguments)
    scope = replace(read.scope, tasks=("pocket-math", "pocket-chat", "pocket-nlu-paraphrase"))
    scope.settings = replace(scope.settings, model=None)
    monkeypatch.setattr("benchmarks.plan.shipped_models", lambda: ["pocket-llama"])
    asked = [
        question for question in claims.all_questions(scope, ["generalisation"]) if "LoRA-SAM is" not in question.claim
    ]
    assert asked[0].scope == "2 of 3 tasks"
    assert asked[0].tasks == ("pocket-math", "pocket-chat")
    from benchmarks.claims.evidence import Evidence
    from benchmarks.claims.verdict import answer
    from benchmarks.store import RunStore

    alone = answer(asked[3], Evidence(scope, RunStore(read.out)))
    assert alone.scope == "pocket-nlu-paraphrase"
    assert "cannot be run here: --tasks: pocket-nlu-paraphrase is made for the base pocket-t5" in str(alone.reason)


def test_the_readme_counts_what_the_committed_board_says() -> None:
    text = README.read_text()
    assert summary(json.loads(COMMITTED.read_text())) in text
    assert "(benchmarks/results/claims.json)" in text
