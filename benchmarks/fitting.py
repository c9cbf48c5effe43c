"""Loads a run's model and trains it, with smaller micro-batches if it does not fit, from a checkpoint if there is one.

A pass that runs out of memory ends the attempt. The next one begins anew with half the micro-batch and twice the
accumulation (`benchmarks.out_of_memory`), so that the run is the one that `--micro-batch-size` would have given.
"""

from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import ranks
from benchmarks.architecture import Architecture, Row
from benchmarks.checkpoints import CheckpointPolicy, Checkpoints, stored_identity
from benchmarks.environment import PeakMemory
from benchmarks.loading import load_options, open_model
from benchmarks.out_of_memory import halved, is_out_of_memory
from benchmarks.progress import Update
from benchmarks.spec import RunSpec
from benchmarks.tasks import Example, Task
from benchmarks.training import TrainedRun, train


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained run, and what it took.

    Attributes:
        trained: The run.
        architecture: What its model is.
        rows: The rows of every split that was given.
        micro_batch_size: Examples of a forward pass, which may be fewer than were asked for.
        peak_memory_bytes: Peak memory of the attempt that succeeded.
    """

    trained: TrainedRun
    architecture: Architecture
    rows: dict[str, Sequence[Row]]
    micro_batch_size: int
    peak_memory_bytes: int


def fit(
    spec: RunSpec,
    *,
    task: Task,
    examples: dict[str, Sequence[Example]],
    model_folder: Path,
    checkpoints: Path,
    policy: CheckpointPolicy,
    update: Callable[[], Update],
) -> Fitted:
    """Train a run with the largest micro-batch that fits, of the one asked for and its halves.

    Args:
        spec: The run.
        task: Its task.
        examples: Of the splits "train" and "validation", and of others whose rows are wanted.
        model_folder: Where the base model lies.
        checkpoints: A folder for its checkpoints, which the caller removes.
        policy: When they are written.
        update: Begins the progress of an attempt.

    Raises:
        TrainingDiverged: If a loss stops being finite.
    """
    micro_batch_size: int = _started_with(spec, checkpoints)
    while True:
        fitted = _attempt(
            replace(spec, micro_batch_size=micro_batch_size),
            spec.key,
            task=task,
            examples=examples,
            model_folder=model_folder,
            checkpoints=checkpoints,
            policy=policy,
            update=update(),
        )
        if not isinstance(fitted, BaseException):
            return fitted
        # Of several ranks the others wait for the one that has no memory left, and cannot begin again with it.
        smaller = None if ranks.world_size() > 1 else halved(micro_batch_size, batch_size=spec.batch_size)
        if smaller is None:
            raise fitted
        print(
            f"run {spec.key}: out of memory with --micro-batch-size {micro_batch_size}; begun again with {smaller} "
            "and as much more accumulation, which is the same update",
            file=sys.stderr,
        )
        micro_batch_size = smaller
        fitted.__traceback__ = None  # its frames hold the model
        del fitted
        _forget(checkpoints)


def _attempt(
    spec: RunSpec,
    key: str,
    *,
    task: Task,
    examples: dict[str, Sequence[Example]],
    model_folder: Path,
    checkpoints: Path,
    policy: CheckpointPolicy,
    update: Update,
) -> Fitted | Exception:
    """Train once; an error that says that memory ran out is returned, so that no handler keeps what it refers to."""
    device = torch.device(spec.device)
    memory = PeakMemory(device)
    options = load_options(spec, labels=len(task.labels))
    model, architecture = open_model(model_folder, device=device, options=options)
    rows = {split: architecture.rows(task, chosen) for split, chosen in examples.items()}
    # What is recorded of the adapters in between is not part of a checkpoint.
    kept = CheckpointPolicy(steps=None, seconds=None) if spec.dynamics else policy
    try:
        trained = train(
            spec,
            model,
            architecture=architecture,
            train_rows=rows["train"],
            validation_rows=rows["validation"],
            folder=checkpoints,
            update=update,
            checkpoints=Checkpoints(checkpoints, kept, identity=_identity(key, spec.micro_batch_size)),
        )
    except Exception as error:
        if is_out_of_memory(error):
            return error
        raise
    return Fitted(
        trained=trained,
        architecture=architecture,
        rows=rows,
        micro_batch_size=spec.micro_batch_size,
        peak_memory_bytes=memory.read(),
    )


def _identity(key: str, micro_batch_size: int) -> dict[str, Any]:
    return {"key": key, "micro_batch_size": micro_batch_size}


def _started_with(spec: RunSpec, checkpoints: Path) -> int:
    """Return the micro-batch of the attempt that was interrupted, or the one that was asked for."""
    found = stored_identity(checkpoints)
    size = found.get("micro_batch_size")
    usable = found.get("key") == spec.key and isinstance(size, int) and 0 < size <= spec.micro_batch_size
    return size if isinstance(size, int) and usable and spec.batch_size % size == 0 else spec.micro_batch_size


def _forget(checkpoints: Path) -> None:
    shutil.rmtree(checkpoints, ignore_errors=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
