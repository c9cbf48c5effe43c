"""Comparison rows: every number is recomputed here from the stored files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.comparison import AVERAGED, build_comparison
from reports.statistics import paired_difference
from reports.store import load_store

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def stored(folder: Path, method: str, name: str) -> list[Any]:
    """Return one stored file of all seeds of a method."""
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").glob(f"{method}-{TASK}-s*/{name}"))]


def edit_row(folder: Path, method: str, **changes: Any) -> None:
    path = folder / "runs" / f"{method}-{TASK}-s0" / "run.json"
    record = json.loads(path.read_text())
    record["row"] |= changes
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("which", ["one_seed", "three_seeds"])
def test_every_value_is_the_mean_over_stored_rows(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    for row in build_comparison(load_store(folder), TASK):
        records = [run["row"] for run in stored(folder, row.method, "run.json")]
        assert len(row.seeds) == len(records)
        for name in AVERAGED:
            values = np.array([record[name] for record in records])
            found = row.values[name]
            assert found.mean == pytest.approx(values.mean(), rel=1e-12)
            if len(values) == 1:
                assert found.standard_error is None
            else:
                expected = values.std(ddof=1) / np.sqrt(len(values))
                assert found.standard_error == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_difference_and_interval_come_from_the_stored_examples(three_seeds: Path) -> None:
    rows = {row.method: row for row in build_comparison(load_store(three_seeds), TASK)}
    scores = {
        method: np.array([[e["score"] for e in run] for run in stored(three_seeds, method, "examples.json")])
        for method in rows
    }
    assert rows["bilora"].difference == paired_difference(scores["bilora"], scores["lora"])
    # LoRA-SAM's last seed failed, so it is paired with the seeds that both have.
    assert rows["lora-sam"].difference == paired_difference(scores["lora-sam"], scores["lora"][:2])
    assert rows["lora-sam"].difference is not None
    assert rows["lora-sam"].difference.interval.seeds == 2
    assert rows["lora"].difference is None


def test_cost_is_the_mean_ratio_to_the_baseline_of_the_same_seed(three_seeds: Path) -> None:
    rows = {row.method: row for row in build_comparison(load_store(three_seeds), TASK)}
    base = [run["row"]["step_seconds"] for run in stored(three_seeds, "lora", "run.json")]
    own = [run["row"]["step_seconds"] for run in stored(three_seeds, "bilora", "run.json")]
    assert rows["bilora"].values["relative_cost"].mean == pytest.approx(np.mean(np.divide(own, base)))
    assert rows["lora"].values["relative_cost"].mean == 1.0


def test_costs_in_gradients_are_preferred_to_seconds(make_store: MakeStore) -> None:
    folder = make_store()
    edit_row(folder, "lora", step_gradients=1.25)
    edit_row(folder, "bilora", step_gradients=1.5)
    assert build_comparison(load_store(folder), TASK)[2].values["relative_cost"].mean == pytest.approx(1.2)


def test_a_value_missing_in_one_seed_is_a_hole_and_not_a_mean_of_the_rest(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1))
    edit_row(folder, "lora", eval_loss=float("nan"), train_score=None)
    row = build_comparison(load_store(folder), TASK)[0]
    assert "eval_loss" not in row.values
    assert row.reasons["eval_loss"] == "eval_loss is not finite in run lora-pocket-math-s0 (nan)"
    assert row.reasons["train_score"] == "train_score was not recorded in run lora-pocket-math-s0"
    assert row.values["score"].count == 2


def test_a_method_without_runs_is_a_row_of_holes_with_the_reason(make_store: MakeStore) -> None:
    row = build_comparison(load_store(make_store(failed=("bilora",))), TASK)[2]
    assert row.values == {}
    assert row.difference is None
    assert set(row.reasons.values()) == {"failed in train: loss became NaN at step 40"}


def test_without_the_baseline_nothing_is_compared_to_it(make_store: MakeStore) -> None:
    row = build_comparison(load_store(make_store(failed=("lora",))), TASK)[2]
    assert row.difference is None
    assert row.reasons["difference"].startswith("the baseline lora has no finished run: failed in train")
    assert "relative_cost" not in row.values
    assert "score" in row.values


def test_other_test_examples_are_not_compared(make_store: MakeStore) -> None:
    folder = make_store()
    path = folder / "runs" / f"bilora-{TASK}-s0" / "examples.json"
    examples = json.loads(path.read_text())
    examples[3]["prompt"] = "another question"
    path.write_text(json.dumps(examples))
    row = build_comparison(load_store(folder), TASK)[2]
    assert row.difference is None
    assert "did not answer the same test examples" in row.reasons["difference"]


def test_two_runs_that_say_they_are_of_one_seed_are_paired_once(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1))
    path = folder / "runs" / f"bilora-{TASK}-s1" / "run.json"
    record = json.loads(path.read_text())
    record["row"]["seed"] = 0
    path.write_text(json.dumps(record))
    row = build_comparison(load_store(folder), TASK)[2]
    assert row.difference is not None
    assert row.difference.interval.seeds == 1


def test_seeds_that_do_not_overlap_are_not_compared(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1), failed=("lora",))
    (folder / "runs" / f"bilora-{TASK}-s0").rename(folder / "moved")
    row = build_comparison(load_store(folder), TASK)[2]
    assert row.reasons["difference"] == "no seed was finished by both this method and the baseline"
