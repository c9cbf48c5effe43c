"""A run folder: what can be read of it is kept, and what cannot is named."""

from __future__ import annotations

import pytest

from reports.store import load_store
from tests.reports.test_store import MakeStore, edit


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("history.json", "{}", "does not hold a list"),
        ("examples.json", '[{"index": 0}]', "without a finite index and score"),
        ("measurement.json", '{"spaces": {"full": 3}}', "space 'full' is not an object"),
        ("measurement.json", '{"spaces": {"full": {"slices": {"alphas": [0, 1], "losses": [[1]]}}}}', "needs 2 values"),
        ("measurement.json", '{"spaces": {"full": {"top": [3]}}}', "expected an eigenvalue record, found 3"),
    ],
)
def test_a_broken_side_file_costs_only_what_it_holds(make_store: MakeStore, name: str, text: str, message: str) -> None:
    folder = make_store()
    (folder / "runs" / "lora-pocket-math-s0" / name).write_text(text)
    store = load_store(folder)
    assert len(store.runs) == 3
    assert store.problems[0].where == f"runs/lora-pocket-math-s0/{name}"
    assert message in store.problems[0].what


def test_a_missing_history_is_named(make_store: MakeStore) -> None:
    folder = make_store()
    (folder / "runs" / "lora-pocket-math-s0" / "history.json").unlink()
    assert str(load_store(folder).problems[0]) == "runs/lora-pocket-math-s0/history.json: history.json is missing"


def test_a_run_without_measurement_says_why(make_store: MakeStore) -> None:
    folder = make_store()
    run = folder / "runs" / "lora-pocket-math-s0"
    (run / "measurement.json").unlink()
    assert load_store(folder).runs[0].why_no_measurement() == "not measured in this run"
    edit(run / "run.json", lambda record: record | {"failure": {"stage": "measure", "message": "out of memory"}})
    assert load_store(folder).runs[0].why_no_measurement() == "failed in measure: out of memory"


def test_a_broken_failure_note_is_a_problem(make_store: MakeStore) -> None:
    folder = make_store(failed=("bilora",))
    (folder / "failed" / "bilora-pocket-math-s0.json").write_text("nonsense")
    store = load_store(folder)
    assert store.problems[0].where == "failed/bilora-pocket-math-s0.json"
    assert store.holes[0].reason.startswith("not finished yet")
