"""What safety costs: the store, the lock, the progress display and the checkpoints of one run, beside the run itself.

One run of the shipped task is carried out as a comparison does it. What its store and its lock do is then done again
many times with its own files, and what its display does once; the mean and that time are set against the seconds of
the run, and the median of its checkpoints against the default seconds from one to the next. Times are of one process on
the machine that the record names.
"""

from __future__ import annotations

import io
import json
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.checkpoints import CheckpointCallback, CheckpointPolicy
from benchmarks.execution import run_all
from benchmarks.plan import plan_runs
from benchmarks.progress import ComparisonProgress
from benchmarks.settings import CompareSettings
from benchmarks.storage import sync
from benchmarks.store import RunStore
from benchmarks.written import write_json

_REPEATS = 50


def measure_overhead(folder: Path, *, steps: int | None = None, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Carry out a run and time what is around it; returns the section of the record.

    Args:
        folder: An empty folder to work in.
        steps: Optimizer steps; None takes the task's recipe.
        say: Told what is being done.
    """
    specs, folders = plan_runs(CompareSettings(methods=("bilora",), baseline="bilora", steps=steps, device="cpu"))
    spec, store = specs[0], RunStore(folder / "store")
    store.create()
    costs: list[float] = []
    original = CheckpointCallback.on_save

    def timed(self: CheckpointCallback, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        costs.append(self.cost)

    CheckpointCallback.on_save = timed  # type: ignore[method-assign]
    try:
        say("carrying out one run of the shipped task, with about twenty checkpoints")
        started = time.monotonic()
        failures = run_all(
            specs, model_folders=folders, store=store, console=Console(file=io.StringIO()),
            policy=CheckpointPolicy(steps=max(1, spec.steps // 20), seconds=None),
        )  # fmt: skip
        seconds = time.monotonic() - started - sum(costs)
    finally:
        CheckpointCallback.on_save = original  # type: ignore[method-assign]
    if failures:
        raise RuntimeError(f"the run failed; see {store.failed}")
    written, shown = _store_seconds(store, spec.key, folder), _progress_seconds(spec.steps)
    total = written + shown
    policy = CheckpointPolicy()
    return {
        "run": spec.key,
        "run_seconds": round(seconds, 2),
        "store_and_lock_seconds": round(written, 4),
        "progress_seconds": round(shown, 4),
        "share_of_the_run": round(total / seconds, 6),
        "checkpoint_seconds": round(statistics.median(costs), 4),
        "checkpoints_timed": len(costs),
        "default_seconds_between_checkpoints": policy.seconds,
        "share_of_checkpoints_at_the_default": round(statistics.median(costs) / (policy.seconds or 1.0), 6),
        "repeats": _REPEATS,
    }


def _store_seconds(store: RunStore, key: str, folder: Path) -> float:
    """Time the store's part of a run: lock, unfinished folder, records, syncing all files to the disk, renaming."""
    finished = store.items / key
    records = {path.name: json.loads(path.read_text()) for path in finished.glob("*.json")}
    again = RunStore(folder / "again")
    again.create()
    times = []
    for number in range(_REPEATS):
        # What the run itself writes, as an adapter, is here before and costs the store its syncing alone.
        started = time.monotonic()
        with again.claimed(f"{number}"), again.writing(f"{number}") as unfinished:
            copying = time.monotonic()
            shutil.copytree(finished / "adapter", unfinished / "adapter")
            copied = time.monotonic() - copying
            for name, content in records.items():
                write_json(unfinished / name, content)
        times.append(time.monotonic() - started - copied)
    sync(again.folder)
    return statistics.mean(times)


def _progress_seconds(steps: int) -> float:
    """Time the display of a run's steps, drawn as on a terminal."""
    console = Console(file=io.StringIO(), force_terminal=True)
    started = time.monotonic()
    with ComparisonProgress([1.0], console) as progress, progress.run(0, "bilora · pocket-math · seed 0") as run:
        update = run.stage("training")
        for step in range(steps):
            update(step / steps, f"step {step}/{steps} loss 1.234")
    return time.monotonic() - started
