from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness.spec import ScoreSpec, ScoreStore
from benchmarks.written import write_json

SPEC = ScoreSpec(
    subject="own",
    adapter="a/adapter",
    adapter_fingerprint="1234",
    model="base",
    model_fingerprint="5678",
    quantize=None,
    dtype="float32",
    device="cpu",
    task="leaderboard/gsm8k",
    task_identity="gsm8k",
    limit=None,
    num_fewshot=None,
    chat_template=False,
    harness="lm_eval 0.4.13",
)


def test_a_key_stands_for_contents_and_not_for_places() -> None:
    assert SPEC.key.startswith("leaderboard_gsm8k-own-")
    assert replace(SPEC, adapter="b", model="elsewhere").key == SPEC.key


@pytest.mark.parametrize(
    "change",
    [
        {"adapter_fingerprint": "x"}, {"model_fingerprint": "x"}, {"quantize": "nf4"}, {"dtype": "bfloat16"},
        {"device": "cuda"}, {"task_identity": "x"}, {"limit": 3}, {"num_fewshot": 0}, {"chat_template": True},
        {"harness": "lm_eval 0.4.14"}, {"software": "bilora 9"},
    ],
)  # fmt: skip
def test_whatever_changes_a_score_changes_its_key(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).key != SPEC.key  # type: ignore[arg-type]


def test_the_table_has_a_row_for_every_metric_of_every_finished_score(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path)
    found = {"metrics": [], "examples": 3, "num_fewshot": 5, "version": 1.0, "hash": "h", "subtasks": []}
    metrics = [
        {"metric": m, "filter": "none", "value": v, "standard_error": 0.1} for m, v in (("em", 0.5), ("f1", 0.7))
    ]
    with store.writing("k") as folder:
        spec = {"subject": "own", "model": "base", "task": "drop"}
        write_json(folder / "score.json", {"key": "k", "spec": spec, "tasks": {"drop": found | {"metrics": metrics}}})
        store.write_table()
        assert (tmp_path / "scores.csv").read_text().count("\n") == 1
    rows = list(csv.DictReader(store.write_table().read_text().splitlines()))
    assert [(row["metric"], row["value"], row["num_fewshot"]) for row in rows] == [
        ("em", "0.5", "5"),
        ("f1", "0.7", "5"),
    ]


def test_a_failure_is_noted_until_the_score_is_taken(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path)
    path = store.record_failure(SPEC, message="out of memory", details="Traceback")
    assert "out of memory" in path.read_text()
    with store.writing(SPEC.key) as folder:
        write_json(folder / "score.json", {})
    assert not path.exists()
    assert store.finished() == [SPEC.key]
