"""Writes what a finished run leaves in its folder: the adapter, `run.json`, and what lies beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import ranks
from benchmarks.architecture import Architecture, Drawn
from benchmarks.environment import environment
from benchmarks.fitting import Fitted
from benchmarks.scoring import ScoredExample
from benchmarks.spec import RunSpec
from benchmarks.store import SCHEMA
from benchmarks.training import TrainedRun
from benchmarks.written import now, write_json
from bilora.trainer_checkpoints import METHOD_STATE


def write_adapter(folder: Path, trained: TrainedRun, architecture: Architecture) -> None:
    """Write the exported adapter, and beside it the method's state.

    The auxiliary factors are no part of an adapter; what Bi-LoRA's adversary was can be measured from them later.
    """
    if ranks.is_first():
        trained.method.export(folder / "adapter")
        architecture.exported(folder / "adapter")
    (folder / "adapter").mkdir(exist_ok=True)
    save_file(trained.method.state_dict(), folder / "adapter" / METHOD_STATE)


def run_record(
    spec: RunSpec, fitted: Fitted, row: dict[str, Any], *, started: str, seconds: dict[str, float], problem: str | None
) -> dict[str, Any]:
    """Return what `run.json` says of a run.

    Args:
        spec: The run.
        fitted: The trained run.
        row: Its results.
        started: When it started.
        seconds: Wall-clock time of each stage.
        problem: Why sharpness could not be measured; None if it was, or was not asked for.
    """
    record = {
        "schema": SCHEMA,
        "key": spec.key,
        "spec": spec.as_dict(),
        "row": {"method": spec.label, "task": spec.task, "seed": spec.seed, "key": spec.key} | row,
        "environment": environment(torch.device(spec.device)) | _ranks(),
        "started": started,
        "finished": now(),
        "seconds": seconds,
        "failure": {"stage": "measure", "message": problem} if problem else None,
    }
    if fitted.micro_batch_size != spec.micro_batch_size:
        record["micro_batch_size"] = {"asked": spec.micro_batch_size, "used": fitted.micro_batch_size}
    if fitted.trained.resumed:
        record["resumed"] = list(fitted.trained.resumed)
    return record


def _ranks() -> dict[str, int]:
    return {"ranks": ranks.world_size()} if ranks.world_size() > 1 else {}


def write_sides(
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


def _write_pictures(folder: Path, examples: Sequence[ScoredExample], drawn: Drawn | None) -> None:
    pictures = [example.picture for example in examples if example.picture is not None]
    if drawn is not None:
        np.save(folder / "pictures.npy", drawn.pictures, allow_pickle=False)
        named = zip(drawn.titles, drawn.prompts, strict=True)
        write_json(folder / "drawn.json", [{"title": title, "prompt": prompt} for title, prompt in named])
    elif pictures:
        np.save(folder / "pictures.npy", np.stack(pictures), allow_pickle=False)
