"""Loading a store: what is there is read, what is not is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.fields import RunStoreError
from reports.store import load_store, task_slug

MakeStore = Callable[..., Path]


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_everything_written_is_loaded(one_seed: Path) -> None:
    store = load_store(str(one_seed))
    assert [run.method for run in store.runs] == ["lora", "lora-sam", "bilora"]
    assert (store.tasks, store.seeds, store.baseline) == (("pocket-math",), (0,), "lora")
    assert store.holes == ()
    assert store.problems == ()
    assert list(store.conventions) == ["Radius", "Reduction", "Gauge"]
    run = store.runs[2]
    stored = json.loads((one_seed / "runs" / run.key / "measurement.json").read_text())
    space = run.space("full")
    assert space is not None
    assert space.largest is not None
    assert space.largest.value == stored["spaces"]["full"]["top"][0]["value"]
    assert space.smallest is not None
    assert space.smallest.value == min(pair["value"] for pair in stored["spaces"]["full"]["bottom"])
    steps, values = run.series("validation_loss")
    history = json.loads((one_seed / "runs" / run.key / "history.json").read_text())
    assert list(values) == [record["validation_loss"] for record in history if "validation_loss" in record]
    assert steps[-1] == 200


def test_failed_and_unfinished_runs_become_holes_with_reasons(make_store: MakeStore) -> None:
    store = load_store(make_store(failed=("lora-sam",), absent=("bilora",)))
    assert {hole.planned.method: hole.reason for hole in store.holes} == {
        "lora-sam": "failed in train: loss became NaN at step 40",
        "bilora": "not finished yet: the same command again runs what is missing",
    }
    assert store.why_no_run("pocket-math", "lora-sam").startswith("failed in train")
    assert store.why_no_run("pocket-math", "rop") == "not planned in this comparison"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json is not valid JSON"),
        ("[]", "run.json holds a list, expected an object"),
        ('{"schema": 2}', "schema 2, this version reads schema 1"),
        ('{"schema": 1, "key": "other"}', "carries key 'other'"),
        ('{"schema": 1, "key": "bilora-pocket-math-s0"}', "no method, task or whole seed"),
        (
            '{"schema": 1, "key": "bilora-pocket-math-s0", "row": {"method": "a", "task": "b", "seed": 0.5}}',
            "no method, task or whole seed",
        ),
    ],
)
def test_an_unusable_run_is_a_problem_and_a_hole(make_store: MakeStore, text: str, message: str) -> None:
    folder = make_store()
    (folder / "runs" / "bilora-pocket-math-s0" / "run.json").write_text(text)
    store = load_store(folder)
    assert [run.method for run in store.runs] == ["lora", "lora-sam"]
    assert message in store.holes[0].reason
    assert store.problems[0].where == "runs/bilora-pocket-math-s0"
    assert message in store.problems[0].what


def test_foreign_folders_are_named_and_runs_in_progress_are_not(make_store: MakeStore) -> None:
    folder = make_store()
    (folder / "runs" / "holiday-pictures").mkdir()
    (folder / "runs" / ".unfinished-abc").mkdir()
    problems = load_store(folder).problems
    assert [problem.where for problem in problems] == ["runs/holiday-pictures"]


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunStoreError, match=r"no folder .*--out folder"):
        load_store(tmp_path / "nowhere")


def test_a_folder_without_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunStoreError, match=r"no comparison\.json, so it is not a run store"):
        load_store(tmp_path)


def test_a_comparison_without_finished_runs_is_refused(make_store: MakeStore) -> None:
    folder = make_store(failed=("lora", "lora-sam", "bilora"))
    with pytest.raises(RunStoreError, match="no finished run of its 3 planned ones"):
        load_store(folder)


@pytest.mark.parametrize("planned", [[], [{"key": "a"}], ["a"]])
def test_a_malformed_plan_is_refused(make_store: MakeStore, planned: list[Any]) -> None:
    folder = make_store()
    edit(folder / "comparison.json", lambda record: record | {"planned": planned})
    with pytest.raises(RunStoreError, match="plans"):
        load_store(folder)


def test_task_slug_is_a_file_name() -> None:
    assert task_slug("org/Data set: v1.2") == "org-Data-set-v1.2"
