"""Carries out what is missing of a list of runs, beside whatever other command shares the store.

A run is locked while it is worked on. One that another command is at work on is left to it and looked at again later:
the second of two identical commands takes other runs, and at the end waits for the first one's; if that one dies its
run is taken over. A run that fails is noted and does not stop the others; a disk that is full stops all.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console

from benchmarks import ranks
from benchmarks.checkpoints import CheckpointPolicy, remove_checkpoints
from benchmarks.environment import Quiet
from benchmarks.progress import ComparisonProgress, RunProgress
from benchmarks.recorder import TrainingDiverged
from benchmarks.run import RunFailed, execute
from benchmarks.spec import RunSpec
from benchmarks.storage import StorageError, storage_reason, storing
from benchmarks.store import RunStore
from bilora.methods import METHODS

#: Seconds from one look at the runs of another command to the next.
LOOK_AGAIN = 1.0
EXIT_RUN_FAILED = 1


def run_all(
    specs: Sequence[RunSpec],
    *,
    model_folders: Mapping[str, Path],
    store: RunStore,
    console: Console,
    policy: CheckpointPolicy | None = None,
) -> int:
    """Carry out what is missing.

    Args:
        specs: The runs, each once.
        model_folders: Folder of every base model, by name.
        store: Where they are kept.
        console: Where to report.
        policy: How often checkpoints are written; None takes the default.

    Returns:
        The number of runs that failed.

    Raises:
        StorageError: If the store cannot be written any more.
    """
    missing, failures = outstanding(specs, store, console)
    weights = [spec.steps * (METHODS[spec.method].published_cost or 1.0) for spec in missing]
    with ComparisonProgress(weights, console) as progress, Quiet():

        def carry_out(index: int) -> bool:
            spec = missing[index]
            with progress.run(index, f"{spec.label} · {spec.task} · seed {spec.seed}") as run_progress:
                line = _carry_out(spec, model_folders[spec.model], store, policy or CheckpointPolicy(), run_progress)
            _say(line)
            return line is None

        return failures + (_together if ranks.world_size() > 1 else _take_turns)(missing, store, carry_out)


def outstanding(specs: Sequence[RunSpec], store: RunStore, console: Console) -> tuple[list[RunSpec], int]:
    """Return the runs that are not finished, and how many of the others could not be measured, having said both."""
    missing = ranks.of_first(lambda: _missing(specs, store))
    if len(missing) < len(specs):
        console.print(f"{len(specs) - len(missing)} of {len(specs)} runs are finished already and kept")
    failures = 0
    for spec in specs:
        if store.is_complete(spec.key) and (problem := store.problem(spec.key)):
            failures += 1
            _say(_not_measured(spec, problem))
    return missing, failures


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How a run went that one worker of several was given.

    Attributes:
        outcome: "elsewhere" where another command is at work on it.
        line: What is to be said of it, or nothing.
        done: Whether it was carried out here and now, and not found finished.
    """

    outcome: Literal["finished", "failed", "elsewhere"]
    line: str = ""
    done: bool = True


def attempt(
    spec: RunSpec, *, model_folder: Path, store: RunStore, policy: CheckpointPolicy, progress: RunProgress
) -> Attempt:
    """Carry out one run if nobody else is at work on it and it is not finished yet; see `run_all` for the rest."""
    with store.claimed(spec.key) as mine:
        if not mine:
            return Attempt(outcome="elsewhere", line=store.holder(spec.key), done=False)
        if store.is_complete(spec.key):
            return Attempt(outcome="finished" if store.problem(spec.key) is None else "failed", done=False)
        line = _carry_out(spec, model_folder, store, policy, progress)
    return Attempt(outcome="finished" if line is None else "failed", line=line or "")


def _missing(specs: Sequence[RunSpec], store: RunStore) -> list[RunSpec]:
    store.remove_unfinished()
    return [spec for spec in specs if not store.is_complete(spec.key)]


def _together(missing: Sequence[RunSpec], store: RunStore, carry_out: Callable[[int], bool]) -> int:
    """Carry out every run with all ranks, of which the first holds its lock; returns how many failed."""
    failures = 0
    for index, spec in enumerate(missing):
        with store.claimed(spec.key, wait=True) if ranks.is_first() else nullcontext():
            if not ranks.of_first(partial(store.is_complete, spec.key)):
                failures += not carry_out(index)
            elif ranks.of_first(partial(store.problem, spec.key)) is not None:
                failures += 1  # the other command has said why
    return failures


def _take_turns(missing: Sequence[RunSpec], store: RunStore, carry_out: Callable[[int], bool]) -> int:
    """Carry out the runs that are free until none is left; returns how many failed, here or elsewhere."""
    failures = 0
    waiting = list(range(len(missing)))
    noted = {spec.key: failure_mark(store, spec) for spec in missing}
    elsewhere: set[str] = set()
    told = False
    while waiting:
        left = []
        for index in waiting:
            spec = missing[index]
            with store.claimed(spec.key) as mine:
                if not mine:
                    elsewhere.add(spec.key)
                    left.append(index)
                elif store.is_complete(spec.key):
                    failures += store.problem(spec.key) is not None
                elif spec.key in elsewhere and failure_mark(store, spec) != noted[spec.key]:
                    failures += 1  # the other command has said why
                else:
                    failures += not carry_out(index)
        if left and len(left) == len(waiting):
            if not told:
                spec = missing[left[0]]
                print(
                    f"waiting: {len(left)} {'run is' if len(left) == 1 else 'runs are'} being carried out by "
                    f"{store.holder(spec.key)}",
                    file=sys.stderr,
                )
            told = True
            time.sleep(LOOK_AGAIN)
        waiting = left
    return failures


def failure_mark(store: RunStore, spec: RunSpec) -> tuple[int, int] | None:
    """Return what changes when a failure of a run is noted anew: the file's identity, not the time in it."""
    try:
        found = (store.failed / f"{spec.key}.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _carry_out(
    spec: RunSpec, model_folder: Path, store: RunStore, policy: CheckpointPolicy, progress: RunProgress
) -> str | None:
    """Carry out one run; returns what is to be said if it was not finished or not measured."""
    checkpoints = store.folder / "checkpoints" / spec.key
    if ranks.world_size() > 1:
        # Ranks would have to agree on when to write one, and on where to go on.
        policy, checkpoints = CheckpointPolicy(steps=None, seconds=None), checkpoints.with_name(f"{spec.key}-ranks")
    try:
        with ranks.writing(store, spec.key) as folder:
            problem = execute(
                spec,
                model_folder=model_folder,
                folder=folder,
                checkpoints=checkpoints,
                policy=policy,
                progress=progress,
            )
        remove_checkpoints(checkpoints)
    except RunFailed as failure:
        cause = failure.__cause__ or failure
        if storage_reason(cause, store.folder) is not None:
            with storing(store.folder):
                raise cause from None
        details = "".join(traceback.format_exception(cause))
        noted = store.record_failure(
            spec, stage=failure.stage, message=str(failure), details=details, **failure.circumstances
        )
        remove_checkpoints(checkpoints)
        line = f"run {spec.key} failed ({failure.stage}): {failure}; details in {noted}"
        if ranks.world_size() > 1 and not isinstance(cause, TrainingDiverged):
            # The other ranks wait for this one in the middle of a pass; the launcher ends them.
            print(line, file=sys.stderr)
            raise SystemExit(EXIT_RUN_FAILED) from failure
        return line
    except StorageError as error:
        raise StorageError(f"run {spec.key} is not finished: {error}") from error.__cause__
    return None if problem is None else _not_measured(spec, problem)


def _not_measured(spec: RunSpec, problem: str) -> str:
    return f"run {spec.key} is trained and scored, not measured: {problem}"


def _say(line: str | None) -> None:
    if line is not None and ranks.is_first():
        print(line, file=sys.stderr)
