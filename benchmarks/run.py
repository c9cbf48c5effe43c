"""Carries out one run from its specification to its folder: train, export, score, measure.

Everything after training sees the exported adapter alone, as a user of it would: the method's auxiliary parts are
switched off before the first test example and stay off.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.columns import sharpness_columns, training_columns
from benchmarks.errors import one_line
from benchmarks.evaluating import draw, evaluate
from benchmarks.fitting import fit
from benchmarks.measuring import measure
from benchmarks.out_of_memory import is_out_of_memory
from benchmarks.progress import RunProgress
from benchmarks.recorder import TrainingDiverged
from benchmarks.run_files import run_record, write_adapter, write_sides
from benchmarks.spec import RunSpec
from benchmarks.tasks import Example, create_task
from benchmarks.written import now, write_json


class RunFailed(RuntimeError):
    """A run could not be finished; `stage` says where, `circumstances` what the record of it should say beside that."""

    def __init__(self, stage: str, message: str, circumstances: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.circumstances = circumstances or {}


class _Clock:
    """Seconds by stage, and the stage that was running when something failed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage = "load"

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        self.stage = stage
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 3)


def execute(
    spec: RunSpec,
    *,
    model_folder: Path,
    folder: Path,
    checkpoints: Path,
    policy: CheckpointPolicy,
    progress: RunProgress,
) -> str | None:
    """Carry out a run and write its folder.

    A measurement that fails does not take the training with it: the run is written with a note in its place.

    Args:
        spec: What to run.
        model_folder: Where the base model lies.
        folder: An empty folder to fill.
        checkpoints: A folder for checkpoints, from the last of which the run goes on; the caller removes it.
        policy: When they are written.
        progress: Where to report.

    Returns:
        Why sharpness could not be measured, in one line; None if all went well.

    Raises:
        RunFailed: Naming the stage, with a message of one line.
    """
    clock = _Clock()
    started = now()
    try:
        return _execute(spec, model_folder, folder, checkpoints, policy, progress, clock, started)
    except Exception as error:
        raise RunFailed(clock.stage, _message(error, spec), _circumstances(error)) from error


def _circumstances(error: Exception) -> dict[str, Any]:
    if isinstance(error, TrainingDiverged):
        return {"kind": "diverged", "step": error.step}
    return {"kind": "out-of-memory"} if is_out_of_memory(error) else {}


def _message(error: Exception, spec: RunSpec) -> str:
    message = one_line(error)
    if is_out_of_memory(error):
        return (
            f"out of memory; lower --micro-batch-size (now {spec.micro_batch_size}, and its halves were tried) or, if "
            f"measuring, --measure-examples: {message}"
        )
    return message


def _execute(
    spec: RunSpec,
    model_folder: Path,
    folder: Path,
    checkpoints: Path,
    policy: CheckpointPolicy,
    progress: RunProgress,
    clock: _Clock,
    started: str,
) -> str | None:
    task = create_task(spec.task, data=None if spec.data is None else Path(spec.data))
    # While tuning, what is scored is the validation split, and the test split is not read.
    examples_of: dict[str, Sequence[Example]] = {
        "train": task.examples("train"),
        "validation": task.examples("validation"),
        "scored": task.examples(spec.scored)[: spec.test_examples],
    }
    with clock.time("train"):
        fitted = fit(
            spec,
            task=task,
            examples=examples_of,
            model_folder=model_folder,
            checkpoints=checkpoints,
            policy=policy,
            update=lambda: progress.stage("training"),
        )
    trained, architecture, rows = fitted.trained, fitted.architecture, fitted.rows
    clock.seconds["train"] = round(clock.seconds["train"] + trained.earlier_seconds, 3)
    write_adapter(folder, trained, architecture)
    trained.model.eval()
    with trained.method.evaluation():
        with clock.time("evaluate"):
            examples, row = evaluate(spec, trained, architecture, task, rows, progress)
            # While tuning, nothing of the test is drawn either.
            drawn = draw(trained, architecture, task, progress) if spec.scored == "test" else None
        measurement: dict[str, Any] | None = None
        problem: str | None = None
        if spec.measurement is not None:
            try:
                with clock.time("measure"):
                    update = progress.stage("measuring")
                    measurement = measure(spec, trained.model, task, rows["train"], architecture, update)
            except Exception as error:
                problem = _message(error, spec)
    row |= training_columns(spec, trained) | {"peak_memory_bytes": fitted.peak_memory_bytes}
    row |= sharpness_columns(measurement)
    write_sides(folder, trained, examples, measurement, drawn)
    record = run_record(spec, fitted, row, started=started, seconds=clock.seconds, problem=problem)
    write_json(folder / "run.json", record)
    return problem
