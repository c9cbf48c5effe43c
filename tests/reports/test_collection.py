"""Folders of runs that no comparison planned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.collection import baseline_of
from reports.fields import RunStoreError
from reports.render import main
from reports.store import load_store

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def test_all_runs_are_shown_and_nothing_is_missing(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1), failed=("bilora",), count=20)
    (folder / "comparison.json").unlink()
    store = load_store(folder)
    assert store.methods == ("lora", "lora-sam", "bilora")
    assert (store.baseline, store.tasks, store.seeds) == ("lora", (TASK,), (0, 1))
    assert len(store.runs) == 5
    assert store.holes == ()
    assert store.created == "2026-11-24T10:01:10+00:00"


def test_the_claims_command_is_the_command(make_store: MakeStore) -> None:
    folder = make_store(count=20)
    (folder / "comparison.json").unlink()
    (folder / "claims.json").write_text(json.dumps({"command": "python -m benchmarks.claims"}))
    assert load_store(folder).command == "python -m benchmarks.claims"


def test_one_training_is_not_counted_twice(make_store: MakeStore) -> None:
    folder = make_store(count=20)
    (folder / "comparison.json").unlink()
    first, again = folder / "runs" / f"lora-{TASK}-s0", folder / "runs" / "lora-again"
    again.mkdir()
    for name in ("history.json", "examples.json"):
        again.joinpath(name).write_text(first.joinpath(name).read_text())
    record = json.loads((first / "run.json").read_text())
    (again / "run.json").write_text(json.dumps(record | {"key": "lora-again", "finished": "2027-01-01T00:00:00+00:00"}))
    store = load_store(folder)
    # The measured one is kept although the other is later.
    assert [run.key for run in store.runs_of(TASK, "lora")] == [f"lora-{TASK}-s0"]
    assert [str(problem) for problem in store.problems] == [
        f"runs/lora-again: repeats lora-{TASK}-s0, a run of the same setting and seed"
    ]


def test_half_written_and_foreign_folders_are_named_and_the_rest_is_rendered(
    make_store: MakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_store(count=20)
    (folder / "comparison.json").unlink()
    (folder / "runs" / "foreign").mkdir()
    (folder / "runs" / f"bilora-{TASK}-s0" / "run.json").write_text('{"schema": 1, "key"')
    path = folder / "runs" / f"lora-sam-{TASK}-s0" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    message = capsys.readouterr().err
    assert "left out runs/foreign: no run.json: a foreign folder" in message
    assert f"left out runs/bilora-{TASK}-s0: run.json is not valid JSON" in message
    assert f"left out runs/lora-sam-{TASK}-s0: run.json has schema 99" in message
    page = (tmp_path / "out" / "index.html").read_text()
    assert "this version reads schema 1" in page
    assert "a foreign folder, left out" in page


def test_a_folder_without_a_readable_run_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "run.json").write_text("[]")
    with pytest.raises(RunStoreError, match=r"left out runs/a: run\.json holds a list"):
        load_store(tmp_path)


def test_the_baseline_is_plain_lora_or_the_first() -> None:
    assert baseline_of(("bilora", "lora")) == "lora"
    assert baseline_of(("bilora", "rop")) == "bilora"
