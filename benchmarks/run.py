"""Carries out one run from its specification to its folder: train, export, score, measure.

Everything after training sees the exported adapter alone, as a user of it would: the method's auxiliary parts are
switched off before the first test example and stay off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import ranks
from benchmarks.architecture import Architecture, Drawn, Row
from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.columns import score_columns, sharpness_columns, training_columns
from benchmarks.environment import environment
from benchmarks.fitting import fit
from benchmarks.measuring import measure
from benchmarks.out_of_memory import is_out_of_memory
from benchmarks.progress import RunProgress
from benchmarks.recorder import TrainingDiverged
from benchmarks.scoring import ScoredExample, metric_score
from benchmarks.spec import RunSpec
from benchmarks.store import SCHEMA
from benchmarks.tasks import Example, Task, create_task
from benchmarks.training import EVALUATION_BATCH, TrainedRun
from benchmarks.written import now, write_json
from bilora.trainer_checkpoints import METHOD_STATE

# Of a long training set, the loss is taken over its first rows.
LOSS_ROWS = 2048


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
        raise RunFailed(clock.stage, _one_line(error, spec), _circumstances(error)) from error


def _circumstances(error: Exception) -> dict[str, Any]:
    if isinstance(error, TrainingDiverged):
        return {"kind": "diverged", "step": error.step}
    return {"kind": "out-of-memory"} if is_out_of_memory(error) else {}


def _one_line(error: Exception, spec: RunSpec) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
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
    if ranks.is_first():
        trained.method.export(folder / "adapter")
        architecture.exported(folder / "adapter")
    (folder / "adapter").mkdir(exist_ok=True)
    # The auxiliary factors are no part of an adapter; what Bi-LoRA's adversary was can be measured from them later.
    save_file(trained.method.state_dict(), folder / "adapter" / METHOD_STATE)
    trained.model.eval()
    with trained.method.evaluation():
        with clock.time("evaluate"):
            examples, row = _evaluate(spec, trained, architecture, task, rows, progress)
            # While tuning, nothing of the test is drawn either.
            drawn = _draw(trained, architecture, task, progress) if spec.scored == "test" else None
        measurement: dict[str, Any] | None = None
        problem: str | None = None
        if spec.measurement is not None:
            try:
                with clock.time("measure"):
                    update = progress.stage("measuring")
                    measurement = measure(spec, trained.model, task, rows["train"], architecture, update)
            except Exception as error:
                problem = _one_line(error, spec)
    row |= training_columns(spec, trained) | {"peak_memory_bytes": fitted.peak_memory_bytes}
    row |= sharpness_columns(measurement)
    _write_sides(folder, trained, examples, measurement, drawn)
    record = {
        "schema": SCHEMA,
        "key": spec.key,
        "spec": spec.as_dict(),
        "row": {"method": spec.label, "task": spec.task, "seed": spec.seed, "key": spec.key} | row,
        "environment": environment(torch.device(spec.device)) | _ranks(),
        "started": started,
        "finished": now(),
        "seconds": clock.seconds,
        "failure": {"stage": "measure", "message": problem} if problem else None,
    }
    if fitted.micro_batch_size != spec.micro_batch_size:
        record["micro_batch_size"] = {"asked": spec.micro_batch_size, "used": fitted.micro_batch_size}
    if trained.resumed:
        record["resumed"] = list(trained.resumed)
    write_json(folder / "run.json", record)
    return problem


def _ranks() -> dict[str, int]:
    return {"ranks": ranks.world_size()} if ranks.world_size() > 1 else {}


def _write_sides(
    folder: Path,
    trained: TrainedRun,
    examples: Sequence[ScoredExample],
    measurement: dict[str, Any] | None,
    drawn: Drawn | None,
) -> None:
    """Write what lies beside run.json in a run's folder."""
    write_json(folder / "history.json", trained.history)
    write_json(folder / "examples.json", [example.as_dict() for example in examples])
    if trained.dynamics is not None:
        write_json(folder / "dynamics.json", asdict(trained.dynamics))
    _write_pictures(folder, examples, drawn)
    if measurement is not None:
        write_json(folder / "measurement.json", measurement)


def _draw(trained: TrainedRun, architecture: Architecture, task: Task, progress: RunProgress) -> Drawn | None:
    update = progress.stage("scoring")
    return architecture.drawn(trained.model, task, on_progress=lambda done: update(done, "pictures for the report"))


def _write_pictures(folder: Path, examples: Sequence[ScoredExample], drawn: Drawn | None) -> None:
    pictures = [example.picture for example in examples if example.picture is not None]
    if drawn is not None:
        np.save(folder / "pictures.npy", drawn.pictures, allow_pickle=False)
        named = zip(drawn.titles, drawn.prompts, strict=True)
        write_json(folder / "drawn.json", [{"title": title, "prompt": prompt} for title, prompt in named])
    elif pictures:
        np.save(folder / "pictures.npy", np.stack(pictures), allow_pickle=False)


def _evaluate(
    spec: RunSpec,
    trained: TrainedRun,
    architecture: Architecture,
    task: Task,
    rows: dict[Any, Sequence[Row]],
    progress: RunProgress,
) -> tuple[list[ScoredExample], dict[str, Any]]:
    """Score a split by generation, a training subset of the validation's size too, and take both losses.

    Of several ranks the first one scores; losses are taken by all.
    """
    update = progress.stage("scoring")
    asked = architecture.asked(task, spec.scored)[: spec.test_examples]
    seen = architecture.asked(task, "train")[: spec.evaluation_examples]
    share = len(asked) / (len(asked) + len(seen))
    examples: list[ScoredExample] = []
    train_examples: list[ScoredExample] = []
    if ranks.is_first():
        examples = architecture.score(
            trained.model,
            task,
            asked,
            on_progress=lambda done: update(done * share, f"{len(asked)} {spec.scored} examples"),
        )
        train_examples = architecture.score(trained.model, task, seen)
    size = spec.evaluation_batch_size or EVALUATION_BATCH
    losses = {
        name: architecture.objective(trained.model, split[:LOSS_ROWS], size=size).value()
        for name, split in (("train_loss", rows["train"]), ("eval_loss", rows["scored"]))
    }
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the {name.replace('_', ' ')} of the trained model is {loss}", step=spec.steps)
    if not ranks.is_first():
        return [], losses
    return examples, {
        "metric": architecture.metric(task),
        "full_marks": task.full_marks,
        "score": metric_score(architecture.metric(task), examples),
        "train_score": metric_score(architecture.metric(task), train_examples),
        "loss_kind": architecture.loss_kind,
        **score_columns(examples),
        **losses,
        "generalization_gap": losses["eval_loss"] - losses["train_loss"],
    }
