from __future__ import annotations

import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.out_of_memory import EvaluationOutOfMemory
from benchmarks.recorder import Recorder, TrainingDiverged

ARGUMENTS = SimpleNamespace(device=torch.device("cpu"))


def recorder(losses: list[float], *, evaluated: Any = lambda: 1.0, evaluate_every: int = 0) -> Recorder:
    method: Any = SimpleNamespace(evaluation=nullcontext)
    evaluations: Any = {"validation_loss": SimpleNamespace(value=evaluated)}
    return Recorder(
        method, evaluations, lambda: 0.5, lambda: [torch.tensor(losses.pop(0))], steps=4, evaluate_every=evaluate_every,
        update=lambda fraction, note: None,
    )  # fmt: skip


def step(record: Recorder, number: int) -> None:
    record.on_step_begin(ARGUMENTS, SimpleNamespace(global_step=number - 1, max_steps=4), None)
    record.on_step_end(ARGUMENTS, SimpleNamespace(global_step=number, max_steps=4), None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_at_its_step(bad: float) -> None:
    record = recorder([1.0, 0.9, bad])
    step(record, 1)
    step(record, 2)
    with pytest.raises(TrainingDiverged, match=rf"the loss is {bad} at step 3; lower --learning-rate") as caught:
        step(record, 3)
    assert caught.value.step == 3


def test_an_evaluation_that_is_no_number_ends_it_too() -> None:
    record = recorder([1.0], evaluated=lambda: math.nan, evaluate_every=1)
    with pytest.raises(TrainingDiverged, match="the validation loss is nan at step 1"):
        step(record, 1)


def test_an_evaluation_that_does_not_fit_names_its_own_flag() -> None:
    def full() -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    record = recorder([1.0], evaluated=full, evaluate_every=1)
    with pytest.raises(EvaluationOutOfMemory, match="--evaluation-batch-size"):
        step(record, 1)


def test_what_is_recorded_goes_into_a_checkpoint_and_back() -> None:
    record, other = recorder([1.0, 0.5], evaluate_every=2), recorder([0.3, 0.2])
    step(record, 1)
    step(record, 2)
    record.on_log(ARGUMENTS, SimpleNamespace(global_step=2), None, logs={"loss": 0.5})
    other.load_state_dict(record.state_dict())
    assert other.state_dict() == record.state_dict()
    assert len(other.seconds) == 2
    assert [entry["step"] for entry in other.history] == [2, 2]
