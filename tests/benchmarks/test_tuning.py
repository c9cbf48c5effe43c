from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from benchmarks.tuning import SEED, best, outcome, plan_searches, plan_sentence, tuned
from benchmarks.written import write_json

SETTINGS = CompareSettings(methods=("lora", "bilora"), tasks=("pocket-math", "pocket-chat"), seeds=2, device="cpu")


@pytest.fixture(scope="module")
def specs() -> list[RunSpec]:
    return plan_runs(SETTINGS)[0]


def store_scores(store: RunStore, scores: dict[RunSpec | str, float]) -> None:
    for key, score in scores.items():
        (store.runs / str(key)).mkdir(parents=True)
        write_json(store.runs / str(key) / "run.json", {"row": {"score": score, "gradient_evaluations": 120}})


def test_budgets_are_equal_and_apart_from_the_final_runs(specs: list[RunSpec]) -> None:
    searches = plan_searches(specs, 5)
    assert [(s.task, s.method) for s in searches] == [
        (task, method) for task in SETTINGS.tasks for method in SETTINGS.methods
    ]
    runs = [spec for search in searches for _, spec in search.trials]
    assert len(runs) == 20
    assert len({spec.key for spec in runs} | {spec.key for spec in specs}) == 20 + len(specs)
    assert {(spec.seed, spec.scored, spec.measurement is None) for spec in runs} == {(SEED, "validation", True)}
    rates = {s.method: [spec.learning_rate for _, spec in s.trials] for s in searches if s.task == "pocket-math"}
    assert rates["lora"] == rates["bilora"]
    assert rates["lora"][:3] == pytest.approx([2e-3, 1e-3, 4e-3])


def test_final_runs_take_what_scored_best_and_equal_scores_the_first(specs: list[RunSpec], tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    searches = plan_searches(specs, 4)
    scores = {"lora": [0.2, 0.5, 0.5, 0.1], "bilora": [0.3, 0.1, 0.2, 0.9]}
    for search in searches:
        if search.task == "pocket-math":
            store_scores(
                store, {spec.key: s for (_, spec), s in zip(search.trials, scores[search.method], strict=True)}
            )
    outcomes = [outcome(search, store) for search in searches]
    assert [found.chosen for found in outcomes] == [1, 3, 0, 0]  # nothing is known of the other task
    final = tuned(specs, outcomes)
    assert [spec.seed for spec in final] == [spec.seed for spec in specs]
    for before, after in zip(specs, final, strict=True):
        place = {("pocket-math", "lora"): 1, ("pocket-math", "bilora"): 3}.get((before.task, before.label), 0)
        trial = next(s for s in searches if (s.task, s.method) == (before.task, before.label)).trials[place][1]
        assert (after.learning_rate, after.options) == (trial.learning_rate, trial.options)
        assert (after.scored, after.measurement) == ("test", before.measurement)
        assert (after == before) == (place == 0)
    record = outcomes[1].as_dict()
    assert (record["runs"], record["gradient_evaluations"], record["chosen"]) == (4, 480, 3)
    assert [trial["score"] for trial in record["trials"]] == scores["bilora"]
    assert record["trials"][0]["radius"] == 0.05
    assert "no trial was finished, so the default stays" in outcomes[2].sentence


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.1, 0.2, 0.2], 1), ([None, -0.3, -0.1], 2), ([None, None], 0), ([0.0, 0.0], 0), ([None, 0.0], 1)],
)
def test_the_best_score_wins_and_of_equal_ones_the_first(scores: list[float | None], expected: int) -> None:
    assert best(scores) == expected


def test_a_trial_that_failed_is_spent_and_its_reason_kept(specs: list[RunSpec], tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    search = plan_searches(specs, 2)[0]
    (_, first), (_, second) = search.trials
    store_scores(store, {first.key: 0.0})
    store.record_failure(second, stage="train", message="training diverged", details="")
    found = outcome(search, store)
    assert (found.chosen, found.problems) == (0, (None, "training diverged"))


def test_search_settings_do_not_depend_on_what_is_measured(specs: list[RunSpec]) -> None:
    plain = plan_runs(replace(SETTINGS, measure=False, seeds=1))[0]
    keys = [[spec.key for s in plan_searches(runs, 3) for _, spec in s.trials] for runs in (specs, plain)]
    assert keys[0] == keys[1]


def test_the_plan_says_how_many_runs_it_means() -> None:
    sentence = plan_sentence(methods=3, tasks=2, seeds=5, count=8)
    assert sentence.startswith("48 runs of tuning")
    assert "then 30 final runs" in sentence
