"""Every group of claims against runs made by hand, whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.claims import sensitivity
from benchmarks.claims.evidence import Evidence
from benchmarks.claims.registry import GROUPS, all_questions
from benchmarks.claims.scope import Arm, Scope
from benchmarks.claims.verdict import FAILS, HOLDS, UNDECIDED, Answer, answer
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from benchmarks.written import write_json

EXAMPLES = 10
Number = Callable[[RunSpec], float]


@pytest.fixture
def scope() -> Scope:
    return Scope(CompareSettings(device="cpu", seeds=3), ("pocket-math",))


def made_by_hand(store: RunStore, spec: RunSpec, *, right: int, cost: float = 1.0, rise: float = 1.0) -> None:
    """Write a run that answers the first `right` of ten examples, and whose loss rises by `rise` in every way."""
    folder = store.runs / spec.key
    folder.mkdir(parents=True)
    row = {"method": spec.label, "task": spec.task, "seed": spec.seed, "key": spec.key, "metric": "exact match"}
    row |= {"full_marks": 100, "score": right / EXAMPLES, "step_gradients": cost}
    write_json(folder / "run.json", {"schema": 1, "key": spec.key, "spec": {}, "row": row, "seconds": {"train": 1.0}})
    examples = [
        {"index": i, "prompt": f"{i}?", "reference": "r", "generated": "g", "score": float(i < right)}
        for i in range(EXAMPLES)
    ]
    write_json(folder / "examples.json", examples)
    slices = {"alphas": [-1.0, 0.0, 1.0], "losses": [[2.0 + rise, 2.0, 2.0 + 3.0 * rise]], "weight_norms": []}
    space = {"worst_case_one_step": {"increase": rise, "radius": 0.05}, "slices": slices}
    write_json(folder / "measurement.json", {"loss": 2.0, "settings": {}, "spaces": {"full": space, "lora": space}})
    terms = [[0, {"bilinear": 0.0, "linear": 1.0}], [5, {"bilinear": 1e-5, "linear": 1.0}]]
    terms.append([10, {"bilinear": 3e-5, "linear": 1.0}])
    cosines = {
        name: {"A": [0.9 - lag, 0.95 - lag, 1.0], "B": [None, 0.8 - lag, 1.0]}
        for name, lag in (("primary", 0.0), ("auxiliary", 0.1 + 0.01 * spec.seed))
    }
    write_json(folder / "dynamics.json", {"terms": terms, **cosines})


def answers(scope: Scope, folder: Path, group: str, **numbers: Number) -> list[Answer]:
    """Make all runs of a group by hand and answer its questions."""
    store = RunStore(folder)
    questions = all_questions(scope, [group])
    for question in questions:
        for task in question.tasks:
            for arm in question.arms:
                for spec in scope.specs(arm, task):
                    if not store.is_complete(spec.key):
                        made_by_hand(store, spec, **{name: number(spec) for name, number in numbers.items()})  # type: ignore[arg-type]
    evidence = Evidence(scope, store)
    return [answer(question, evidence) for question in questions]


def test_every_group_has_questions_and_every_question_a_group(scope: Scope) -> None:
    assert {question.group for question in all_questions(scope, list(GROUPS))} == set(GROUPS)


def test_gains_are_differences_of_scores_in_points(scope: Scope, tmp_path: Path) -> None:
    right = {"lora": 5, "lora-sam": 4, "bilora": 8}
    found = answers(scope, tmp_path, "generalisation", right=lambda spec: right[spec.label])
    assert [line.measured for line in found] == pytest.approx([30.0, 40.0, -10.0])
    # All seeds agree, so that the interval is the t interval over the ten examples.
    differences = 100.0 * np.array([0.0] * 5 + [1.0] * 3 + [0.0] * 2)
    low, high = stats.t.interval(0.95, 9, loc=differences.mean(), scale=stats.sem(differences))
    assert (found[0].low, found[0].high) == pytest.approx((low, high))
    assert [line.verdict for line in found] == [UNDECIDED, HOLDS, UNDECIDED]
    assert all((line.seeds, line.runs) == (3, 6) for line in found)


def test_several_tasks_are_pooled_before_each_stands_alone(tmp_path: Path) -> None:
    scope = Scope(CompareSettings(device="cpu", seeds=2), ("pocket-math", "pocket-chat"))
    gain = {"pocket-math": 4, "pocket-chat": 2}
    found = answers(
        scope, tmp_path, "generalisation", right=lambda spec: gain[spec.task] if spec.label == "bilora" else 0
    )
    assert [line.scope for line in found[:3]] == ["all tasks", "pocket-math", "pocket-chat"]
    assert [line.measured for line in found[:3]] == pytest.approx([30.0, 40.0, 20.0])
    assert (found[0].runs, found[1].runs) == (8, 4)


def test_flatness_is_a_ratio_with_the_t_interval_of_its_logarithms(scope: Scope, tmp_path: Path) -> None:
    def rise(spec: RunSpec) -> float:
        return {"lora": 1.0, "lora-sam": 3.0, "bilora": 0.5 + 0.1 * spec.seed}[spec.label]

    found = {
        (line.source, line.claim): line
        for line in answers(scope, tmp_path, "flatness", right=lambda spec: 5, rise=rise)
    }
    logs = np.log([0.5, 0.6, 0.7])
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    for source in ("Figure 4", "Table A6"):
        line = found[source, "Bi-LoRA is flatter than LoRA in the full space"]
        expected = (math.exp(logs.mean()), math.exp(low), math.exp(high))
        assert (line.measured, line.low, line.high) == pytest.approx(expected)
        assert line.verdict == HOLDS
        assert found[source, "LoRA-SAM is flatter than LoRA in the LoRA space"].measured == pytest.approx(3.0)
        assert found[source, "LoRA-SAM is flatter than LoRA in the LoRA space"].verdict == FAILS


def test_a_loss_that_does_not_rise_has_no_ratio(scope: Scope, tmp_path: Path) -> None:
    found = answers(scope, tmp_path, "flatness", right=lambda spec: 5, rise=lambda spec: -1.0)
    assert all(line.verdict == UNDECIDED for line in found)
    assert "a ratio needs positive numbers" in str(found[0].reason)


def test_convergence_is_the_mean_lag_before_the_last_step(scope: Scope, tmp_path: Path) -> None:
    found = answers(scope, tmp_path, "convergence", right=lambda spec: 5)
    assert [line.measured for line in found] == pytest.approx([0.11, 0.11])
    assert [line.verdict for line in found] == [HOLDS, HOLDS]


def test_the_second_order_term_is_averaged_where_there_is_one(scope: Scope, tmp_path: Path) -> None:
    (line,) = answers(scope, tmp_path, "cross-term", right=lambda spec: 5)
    assert (line.measured, line.verdict) == (pytest.approx(2e-5), HOLDS)


def test_dual_lora_explains_a_share_of_a_gain_that_is_there(scope: Scope, tmp_path: Path) -> None:
    right = {"lora": 0, "dual-lora": 1, "bilora": 9}
    beats, share = answers(scope, tmp_path / "a", "dual", right=lambda spec: right[spec.label])
    assert (beats.measured, beats.verdict) == (pytest.approx(80.0), HOLDS)
    assert (share.measured, share.verdict) == (pytest.approx(35.0), HOLDS)
    right = {"lora": 5, "dual-lora": 1, "bilora": 5}
    _, share = answers(scope, tmp_path / "b", "dual", right=lambda spec: right[spec.label])
    assert (share.measured, share.verdict) == (pytest.approx(40.0), UNDECIDED)
    assert "no gain of Bi-LoRA over LoRA was established here" in str(share.reason)


def test_insensitivity_asks_it_of_every_rate(scope: Scope, tmp_path: Path) -> None:
    highest = round(sensitivity.MULTIPLES[-1] * scope.learning_rate("pocket-math"), 10)

    def right(spec: RunSpec) -> int:
        return 9 if spec.options["auxiliary_learning_rate"] == highest else 1

    together, *each = answers(scope, tmp_path, "auxiliary-rate", right=right)
    assert [line.measured for line in each] == pytest.approx([0.0, 0.0, 80.0])
    assert [line.verdict for line in each] == [HOLDS, HOLDS, FAILS]
    assert together.measured == pytest.approx(80.0)
    assert (together.low, together.high) == pytest.approx((0.0, each[-1].high))
    assert together.verdict == UNDECIDED


def test_a_sweet_spot_is_the_middle_less_the_ends(scope: Scope, tmp_path: Path) -> None:
    right = {0.01: 0, 0.05: 9, 0.1: 9, 0.2: 2}
    (line,) = answers(scope, tmp_path, "radius", right=lambda spec: right[spec.options["rho"]])
    assert (line.measured, line.verdict) == (pytest.approx(80.0), HOLDS)
    assert "mean at 0.05, 0.1 minus mean at 0.01, 0.2" in line.quantity
    assert line.runs == 12


def test_the_cost_of_own_runs_is_a_ratio(scope: Scope, tmp_path: Path) -> None:
    recorded, own = answers(
        scope, tmp_path, "cost", right=lambda spec: 5, cost=lambda spec: 1.3 if spec.label == "bilora" else 1.0
    )
    assert (own.measured, own.verdict) == (pytest.approx(1.3), FAILS)
    assert (recorded.runs, recorded.seeds, recorded.verdict) == (0, 0, HOLDS)


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    scope = Scope(CompareSettings(device="cpu", seeds=1), ("pocket-math",))
    found = answers(scope, tmp_path, "generalisation", right=lambda spec: 9 if spec.label == "bilora" else 0)
    assert all(line.verdict == UNDECIDED for line in found)
    assert "needs at least two" in str(found[0].reason)


def test_graphs_are_for_plain_lora_on_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    scope = Scope(CompareSettings(cuda_graphs=True), ("pocket-math",))
    found = {name: scope.specs(Arm(name), "pocket-math")[0].cuda_graphs for name in ("bilora", "dora+bilora", "qlora")}
    assert found == {"bilora": True, "dora+bilora": False, "qlora": False}


def test_runs_that_are_finished_on_another_device_are_taken_from_there(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    settings = CompareSettings(device="cpu", seeds=2)
    asked = Scope(settings, ("pocket-math",))
    for arm in (Arm("bi-qlora"), Arm("qlora")):
        for spec in asked.specs(arm, "pocket-math"):
            made_by_hand(store, spec, right=5)
    for name, right in (("bilora", 9), ("lora", 0)):
        for spec in asked.specs(Arm(name, observed=True), "pocket-math"):
            made_by_hand(store, replace(spec, device="cuda", cuda_graphs=True), right=right)
    first = asked.specs(Arm("lora-sam", observed=True), "pocket-math")[0]
    made_by_hand(store, replace(first, device="cuda"), right=9)  # one of two seeds

    scope = Scope(settings, ("pocket-math",), is_finished=store.is_complete)
    evidence = Evidence(scope, store)
    lines = {
        line.claim: line for line in (answer(q, evidence) for q in all_questions(scope, ["generalisation", "nf4"]))
    }
    gain = lines["Bi-LoRA generalises better than LoRA"]
    assert (gain.device, gain.measured, gain.verdict) == ("cuda", pytest.approx(90.0), HOLDS)
    assert lines["On a 4-bit base Bi-LoRA beats QLoRA"].device == "cpu"
    mixed = lines["Bi-LoRA generalises better than LoRA-SAM"]
    assert (mixed.device, mixed.verdict) == (None, UNDECIDED)
    assert mixed.reason == "its runs are from different devices: cpu, cuda"
    assert {spec.device for spec in scope.specs(Arm("lora-sam", observed=True), "pocket-math")} == {"cpu"}
