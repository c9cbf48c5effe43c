"""Carries out one run from its specification to its folder: train, export, score, measure.

Everything after training sees the exported adapter alone, as a user of it would: the method's auxiliary parts are
switched off before the first test example and stay off.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from analysis import FlatnessSettings, SpaceError, measure_flatness, parameter_space
from analysis.progress import within
from benchmarks.architecture import Architecture, Row
from benchmarks.environment import PeakMemory, environment
from benchmarks.landscapes import measure_landscapes
from benchmarks.loading import load_options, open_model
from benchmarks.progress import RunProgress
from benchmarks.scoring import ScoredExample, mean_parts, task_score
from benchmarks.spec import RunSpec
from benchmarks.store import SCHEMA, now, write_json
from benchmarks.tasks import Task, create_task
from benchmarks.training import EVALUATION_BATCH, TrainedRun, train
from benchmarks.widening import widen
from bilora.trainer import METHOD_STATE

# Examples at a time while measuring curvature: the graph of a gradient is kept, so this bounds the memory.
MEASUREMENT_BATCH = 16
# Of a long training set, the loss is taken over its first rows.
LOSS_ROWS = 2048
_ALWAYS_IN_THE_ROW = ("full", "lora")


class RunFailed(RuntimeError):
    """A run could not be finished; `stage` says where."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


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


def execute(spec: RunSpec, *, model_folder: Path, folder: Path, progress: RunProgress) -> str | None:
    """Carry out a run and write its folder.

    A measurement that fails does not take the training with it: the run is written with a note in its place.

    Args:
        spec: What to run.
        model_folder: Where the base model lies.
        folder: An empty folder to fill.
        progress: Where to report.

    Returns:
        Why sharpness could not be measured, in one line; None if all went well.

    Raises:
        RunFailed: Naming the stage, with a message of one line.
    """
    clock = _Clock()
    started = now()
    try:
        return _execute(spec, model_folder, folder, progress, clock, started)
    except Exception as error:
        raise RunFailed(clock.stage, _one_line(error, spec)) from error


def _one_line(error: Exception, spec: RunSpec) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return (
            f"out of memory; lower --micro-batch-size (now {spec.micro_batch_size}) or, if measuring, "
            f"--measure-examples: {message}"
        )
    return message


def _execute(
    spec: RunSpec, model_folder: Path, folder: Path, progress: RunProgress, clock: _Clock, started: str
) -> str | None:
    device = torch.device(spec.device)
    memory = PeakMemory(device)
    task = create_task(spec.task, data=None if spec.data is None else Path(spec.data))
    options = load_options(spec, labels=len(task.labels))
    model, architecture = open_model(model_folder, device=device, options=options)
    # While tuning, what is scored is the validation split, and the test split is not read.
    examples_of = {"train": task.examples("train"), "validation": task.examples("validation")}
    examples_of["scored"] = task.examples(spec.scored)[: spec.test_examples]
    rows = {split: architecture.rows(task, chosen) for split, chosen in examples_of.items()}
    with clock.time("train"):
        trained = train(
            spec,
            model,
            architecture=architecture,
            train_rows=rows["train"],
            validation_rows=rows["validation"],
            folder=folder / "trainer",
            update=progress.stage("training"),
        )
    peak_memory_bytes = memory.read()
    shutil.rmtree(folder / "trainer", ignore_errors=True)
    trained.method.export(folder / "adapter")
    # The auxiliary factors are no part of an adapter; what Bi-LoRA's adversary was can be measured from them later.
    save_file(trained.method.state_dict(), folder / "adapter" / METHOD_STATE)
    trained.model.eval()
    with trained.method.evaluation():
        with clock.time("evaluate"):
            examples, row = _evaluate(spec, trained, architecture, task, rows, progress)
        measurement: dict[str, Any] | None = None
        problem: str | None = None
        if spec.measurement is not None:
            try:
                with clock.time("measure"):
                    measurement = _measure(spec, trained, task, rows["train"], architecture, progress)
            except Exception as error:
                problem = _one_line(error, spec)
    row |= _training_columns(spec, trained) | {"peak_memory_bytes": peak_memory_bytes} | _sharpness_columns(measurement)
    write_json(folder / "history.json", trained.history)
    write_json(folder / "examples.json", [example.as_dict() for example in examples])
    if trained.dynamics is not None:
        write_json(folder / "dynamics.json", asdict(trained.dynamics))
    pictures = [example.picture for example in examples if example.picture is not None]
    if pictures:
        np.save(folder / "pictures.npy", np.stack(pictures), allow_pickle=False)
    if measurement is not None:
        write_json(folder / "measurement.json", measurement)
    record = {
        "schema": SCHEMA,
        "key": spec.key,
        "spec": spec.as_dict(),
        "row": {"method": spec.label, "task": spec.task, "seed": spec.seed, "key": spec.key} | row,
        "environment": environment(device),
        "started": started,
        "finished": now(),
        "seconds": clock.seconds,
        "failure": {"stage": "measure", "message": problem} if problem else None,
    }
    write_json(folder / "run.json", record)
    return problem


def _evaluate(
    spec: RunSpec,
    trained: TrainedRun,
    architecture: Architecture,
    task: Task,
    rows: dict[Any, Sequence[Row]],
    progress: RunProgress,
) -> tuple[list[ScoredExample], dict[str, Any]]:
    """Score a split by generation, a training subset of the validation's size too, and take both losses."""
    update = progress.stage("scoring")
    asked = task.examples(spec.scored)[: spec.test_examples]
    seen = task.examples("train")[: spec.evaluation_examples]
    share = len(asked) / (len(asked) + len(seen))
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
    return examples, {
        "metric": task.metric,
        "full_marks": task.full_marks,
        "score": task_score(task, examples),
        "train_score": task_score(task, train_examples),
        "loss_kind": architecture.loss_kind,
        **_parts(examples),
        **losses,
        "generalization_gap": losses["eval_loss"] - losses["train_loss"],
    }


def _parts(examples: list[ScoredExample]) -> dict[str, Any]:
    """Return the names of the parts of a score, and each one's mean; nothing where it has none."""
    parts = mean_parts(examples)
    return {"score_parts": " ".join(parts)} | {f"{name}_score": mean for name, mean in parts.items()} if parts else {}


def _measure(
    spec: RunSpec,
    trained: TrainedRun,
    task: Task,
    train_rows: Sequence[Row],
    architecture: Architecture,
    progress: RunProgress,
) -> dict[str, Any]:
    assert spec.measurement is not None
    count = min(int(spec.measurement["examples"]), len(train_rows))
    settings = FlatnessSettings(**spec.measurement["flatness"])
    widen(trained.model)
    available, missing = _spaces(trained.model, settings.spaces)
    settings = replace(settings, spaces=available)
    size = min(MEASUREMENT_BATCH, spec.evaluation_batch_size or MEASUREMENT_BATCH)
    loss = architecture.objective(trained.model, train_rows[:count], size=size, once=True)
    update = progress.stage("measuring")
    kinds = spec.measurement.get("landscape", ())
    part = within(update, 0.0, 0.5, label="flatness") if kinds else update
    flatness = asdict(measure_flatness(loss, trained.model, settings, on_progress=part))
    if kinds:
        asked = task.examples(spec.scored)[: spec.test_examples][: spec.evaluation_examples]
        more = measure_landscapes(
            loss,
            trained.model,
            settings,
            kinds=kinds,
            score=lambda model: task_score(task, architecture.score(model, task, asked)),
            examples=len(asked),
            on_progress=within(update, 0.5, 1.0, label="landscape"),
        )
        for name, found in more.items():
            flatness["spaces"][name] |= found
    return {**flatness, "data": {"split": "train", "examples": count}, "not_measured": missing}


def _spaces(model: Any, wanted: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the spaces that the model has, and why it has not the others: HiRA has no (A, B) with W = W0 + s B A.

    Raises:
        SpaceError: If it has none of them.
    """
    available: list[str] = []
    missing: dict[str, SpaceError] = {}
    for name in wanted:
        try:
            parameter_space(model, name)
            available.append(name)
        except SpaceError as error:
            missing[name] = error
    if not available:
        raise missing[wanted[0]]
    return tuple(available), {name: str(error) for name, error in missing.items()}


def _training_columns(spec: RunSpec, trained: TrainedRun) -> dict[str, Any]:
    logged = {
        name: [record[name] for record in trained.history if name in record]
        for name in ("perturbation_norm", "clip_active")
    }
    means = {name: sum(values) / len(values) if values else None for name, values in logged.items()}
    return {
        "step_seconds": trained.step_seconds,
        "step_gradients": trained.step_gradients,
        "gradient_evaluations": trained.method.cost.gradients,
        "forward_evaluations": trained.method.cost.forwards,
        "extra_memory_bytes": trained.method.extra_memory(),
        # A method that logs no perturbation makes none.
        "perturbation_norm": means["perturbation_norm"] or 0.0,
        "clip_active": means["clip_active"],
        "steps": spec.steps,
    }


def _sharpness_columns(measurement: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns of every space that was measured, and those of full and lora in any case, empty if not."""
    measured: dict[str, Any] = measurement["spaces"] if measurement else {}
    columns: dict[str, Any] = {}
    for space in dict.fromkeys((*_ALWAYS_IN_THE_ROW, *measured)):
        values = measured.get(space, {})
        for name, end in (("lambda_max", "top"), ("lambda_min", "bottom")):
            pairs: Sequence[dict[str, Any]] = values.get(end) or ({},)
            pair = pairs[0]
            columns[f"{name}_{space}"] = pair.get("value")
            columns[f"{name}_residual_{space}"] = pair.get("residual")
        for name in ("worst_case", "average_case"):
            columns[f"{name}_{space}"] = (values.get(name) or {}).get("increase")
    return columns
