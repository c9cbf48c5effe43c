"""Who is best, and who is not told apart from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from reports.crossed import Measured
from reports.multiple import holm
from reports.paired import paired_interval
from reports.standing import mean_by_seed, standings
from reports.store import Store, load_store

TASK = "pocket-math"
MakeStore = Callable[..., Path]


@pytest.fixture(scope="module")
def store(three_seeds: Path) -> Store:
    return load_store(three_seeds)


def test_the_best_has_the_highest_mean_and_the_far_ones_are_told_apart(store: Store) -> None:
    found = standings(store, [TASK])
    assert [method for method, standing in found.items() if standing.best] == ["bilora"]
    others = [standing for standing in found.values() if not standing.best]
    probabilities = [standing.probability for standing in others if standing.probability is not None]
    assert tuple(standing.adjusted for standing in others) == holm(probabilities)
    assert all(standing.mark == ("tied" if (standing.adjusted or 0) >= 0.05 else "") for standing in others)


def test_equal_scores_of_all_seeds_are_not_distinguishable(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1), count=40)
    for seed in (0, 1):
        best = (folder / "runs" / f"bilora-{TASK}-s{seed}" / "examples.json").read_text()
        row = json.loads((folder / "runs" / f"bilora-{TASK}-s{seed}" / "run.json").read_text())["row"]
        other = folder / "runs" / f"lora-{TASK}-s{seed}"
        (other / "examples.json").write_text(best)
        record = json.loads((other / "run.json").read_text())
        record["row"]["score"] = row["score"]
        (other / "run.json").write_text(json.dumps(record))
    found = standings(load_store(folder), [TASK])
    assert found["lora"].best  # the first of equals
    assert found["bilora"].mark == "tied"
    assert found["bilora"].probability == 1.0


def test_the_probability_is_students_where_examples_add_nothing(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1, 2), count=4)
    shares = {"lora": (0.25, 0.5, 0.25), "bilora": (0.75, 0.5, 1.0)}
    for method, values in shares.items():
        for seed, value in enumerate(values):
            path = folder / "runs" / f"{method}-{TASK}-s{seed}" / "examples.json"
            examples = json.loads(path.read_text())
            # Every example of a seed has the same score, so that seeds are the only source of variance.
            path.write_text(json.dumps([example | {"score": value} for example in examples]))
    runs = load_store(folder)
    found = paired_interval(runs.runs_of(TASK, "bilora"), runs.runs_of(TASK, "lora"))
    assert isinstance(found, Measured)
    assert found.probability == pytest.approx(stats.ttest_rel(shares["bilora"], shares["lora"]).pvalue, rel=1e-6)


def test_a_single_seed_is_neither_ranked_nor_tested_beside_several(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0, 1), failed=("bilora",), count=60)
    found = standings(load_store(folder), [TASK])
    assert not found["bilora"].best
    assert found["bilora"].reason == "it has one seed, so it is neither ranked nor tested"
    assert any(standing.best for standing in found.values())


def test_with_one_seed_each_the_highest_is_named_and_nothing_tested(one_seed: Path) -> None:
    found = standings(load_store(one_seed), [TASK])
    assert found["bilora"].mark == "best"
    assert [found[method].mark for method in ("lora", "lora-sam")] == ["", ""]
    assert "at least two" in found["lora"].reason


def test_the_average_is_taken_seed_by_seed_over_shared_seeds(make_store: MakeStore) -> None:
    store = load_store(make_store(tasks=(TASK, "pocket-code"), seeds=(0, 1), failed=("lora",), count=30))
    runs = {task: store.runs_of(task, "lora") for task in store.tasks}
    assert mean_by_seed(runs) == {0: pytest.approx(np.mean([found[0].row["score"] for found in runs.values()]))}
