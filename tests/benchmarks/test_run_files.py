from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.architecture import Drawn
from benchmarks.fitting import Fitted
from benchmarks.run_files import run_record, write_sides
from benchmarks.scoring import ScoredExample
from benchmarks.training import TrainedRun
from tests.benchmarks.test_spec import SPEC

TRAINED: Any = TrainedRun(
    model=None, method=None, history=[{"step": 1.0, "loss": 2.0}], step_seconds=0.1, step_gradients=1.0
)
FITTED = Fitted(
    trained=TRAINED, architecture=None, rows={}, micro_batch_size=SPEC.micro_batch_size, peak_memory_bytes=7
)


def record(fitted: Fitted = FITTED, problem: str | None = None) -> dict[str, Any]:
    return run_record(SPEC, fitted, {"score": 0.5}, started="now", seconds={"train": 1.0}, problem=problem)


def example(**more: Any) -> ScoredExample:
    return ScoredExample(index=0, prompt="a", reference="b", generated="b", score=1.0, turn_scores=(1.0,), **more)


def test_a_record_says_what_ran_and_that_nothing_failed() -> None:
    found = record()
    assert found["row"] == {
        "method": SPEC.label,
        "task": SPEC.task,
        "seed": SPEC.seed,
        "key": SPEC.key,
        "score": 0.5,
    }
    assert found["failure"] is None
    assert not {"micro_batch_size", "resumed"} & found.keys()


def test_what_was_not_as_asked_is_in_the_record() -> None:
    fitted = replace(FITTED, micro_batch_size=1, trained=replace(TRAINED, resumed=(4, 8)))
    found = record(fitted, problem="no memory")
    assert found["failure"] == {"stage": "measure", "message": "no memory"}
    assert found["micro_batch_size"] == {"asked": SPEC.micro_batch_size, "used": 1}
    assert found["resumed"] == [4, 8]


@pytest.mark.parametrize("drawn", [False, True])
def test_pictures_are_those_for_the_report_or_else_those_of_the_examples(drawn: bool, tmp_path: Path) -> None:
    pictures = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    report = Drawn(pictures=pictures[1:], prompts=("a dog",), titles=("dog",)) if drawn else None
    write_sides(tmp_path, TRAINED, [example(picture=pictures[0])], None, report)
    found = np.load(tmp_path / "pictures.npy", allow_pickle=False)
    assert np.array_equal(found, pictures[1:] if drawn else pictures[:1])
    assert (tmp_path / "drawn.json").exists() == drawn


def test_only_what_there_is_lies_beside_the_record(tmp_path: Path) -> None:
    write_sides(tmp_path, TRAINED, [example()], {"radius": 0.1}, None)
    assert {path.name for path in tmp_path.iterdir()} == {"history.json", "examples.json", "measurement.json"}
    assert json.loads((tmp_path / "history.json").read_text()) == TRAINED.history
