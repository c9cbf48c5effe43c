from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.estimates import pocket_estimate
from benchmarks.executors.expected import estimated_seconds, expected_seconds, family
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from benchmarks.written import write_json
from tests.benchmarks.test_spec import SPEC

SAM = replace(SPEC, method="lora-sam", options={"rho": 0.05})


def finished(store: RunStore, spec: RunSpec, seconds: float) -> None:
    folder = store.runs / spec.key
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {"spec": spec.as_dict(), "seconds": {"train": seconds - 1, "evaluate": 1.0}})


def test_training_is_estimated_as_the_plan_does() -> None:
    step = pocket_estimate("bilora", rows=4)
    assert step is not None
    assert estimated_seconds(SPEC) == pytest.approx(step.seconds * 10)
    accumulated = replace(SPEC, batch_size=8, micro_batch_size=4)
    assert estimated_seconds(accumulated) == pytest.approx(2 * estimated_seconds(SPEC))


def test_an_8b_run_takes_longer_than_a_pocket_run_and_two_gradients_longer_than_one() -> None:
    large = replace(SPEC, model="meta-llama/Llama-3.1-8B", max_length=256)
    assert estimated_seconds(large) > estimated_seconds(SPEC)
    assert estimated_seconds(replace(large, method="lora-sam")) > 1.5 * estimated_seconds(large)


def test_what_finished_runs_took_is_expected_of_other_seeds_and_scales_the_rest(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    specs = [replace(SPEC, seed=1), replace(SAM, seed=1)]
    assert expected_seconds(specs, store) == [estimated_seconds(spec) for spec in specs]
    finished(store, replace(SPEC, seed=7), 40.0)
    finished(store, replace(SPEC, seed=8), 60.0)
    (store.runs / "torn").mkdir()
    (store.runs / "torn" / "run.json").write_text("{")
    known, scaled = expected_seconds(specs, store)
    assert known == pytest.approx(50.0)
    assert scaled == pytest.approx(50.0 * estimated_seconds(SAM) / estimated_seconds(SPEC))


def test_a_family_is_what_differs_in_the_seed_alone() -> None:
    assert family(SPEC) == family(replace(SPEC, seed=3))
    assert family(SPEC) != family(replace(SPEC, steps=11))
