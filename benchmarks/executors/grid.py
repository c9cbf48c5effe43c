"""Carries out what is missing of a list of runs on several workers; to its caller it is `execution.run_all`.

Failures are told in the same words, and finished runs are in the store at once, whoever finished them. However it is
left, nothing half-written stays behind: workers are ended, and what they were writing is removed. Their checkpoints
stay, from which the next attempt goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from rich.console import Console

from benchmarks.checkpoints import CheckpointPolicy, remove_checkpoints
from benchmarks.execution import failure_mark, outstanding
from benchmarks.executors.busy import Span, busy_share, wall_seconds
from benchmarks.executors.dispatch import Event, Worker, dispatch
from benchmarks.executors.expected import expected_seconds, family
from benchmarks.executors.job import Job
from benchmarks.executors.progress import GridProgress
from benchmarks.executors.schedule import LIMIT, RunQueue
from benchmarks.spec import RunSpec
from benchmarks.storage import StorageError
from benchmarks.store import RunStore

#: Seconds in which a shared folder shows what another machine wrote, at the latest.
VISIBLE_WITHIN = 90.0
#: Seconds that killed workers may take to let go of what they were writing.
_GONE_WITHIN = 10.0


class Grid:
    """Several workers, kept from one list of runs to the next.

    Args:
        workers: Who carries out runs.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        #: Who had which run at work, and when.
        self.spans: list[Span] = []

    def run_all(
        self,
        specs: Sequence[RunSpec],
        *,
        model_folders: Mapping[str, Path],
        store: RunStore,
        console: Console,
        policy: CheckpointPolicy | None = None,
    ) -> int:
        """Carry out what is missing; see `benchmarks.execution.run_all`."""
        missing, failures = outstanding(specs, store, console)
        if not missing:
            return failures
        workers = self.workers[: len(missing)]
        expected = expected_seconds(missing, store)
        jobs = [
            Job(
                spec=spec,
                model_folder=model_folders[spec.model],
                store=store.folder,
                policy=policy or CheckpointPolicy(),
            )
            for spec in missing
        ]
        marks = [failure_mark(store, spec) for spec in missing]
        earlier = len(self.spans)
        with GridProgress(expected, len(workers), console) as progress:
            told = _Told(missing, store, progress, self.spans, {worker.number: worker.name for worker in workers})
            try:
                left = dispatch(
                    jobs,
                    runs=RunQueue(expected, families=[family(spec) for spec in missing]),
                    workers=workers,
                    told=told,
                    tick=progress.show,
                    failed_elsewhere=lambda index: failure_mark(store, missing[index]) != marks[index],
                )
            except BaseException:
                _clean(store, told.at_work())
                raise
        store.remove_unfinished()  # of lost workers
        for index in left:
            told.give_up(index, "no worker could be started")
        _await_visible(store, told.finished)
        _say_busy(self.spans[earlier:], len(workers), console)
        return failures + told.failures

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Told:
    """Takes down what happens to runs, and says what there is to say."""

    def __init__(
        self,
        specs: Sequence[RunSpec],
        store: RunStore,
        progress: GridProgress,
        spans: list[Span],
        names: Mapping[int, str],
    ) -> None:
        self._specs, self._store, self._progress, self._spans, self._names = specs, store, progress, spans, names
        self._began: dict[int, float] = {}
        self._losses: dict[int, int] = {}
        self._waiting = False
        self.failures = 0
        self.finished: list[str] = []

    def at_work(self) -> list[str]:
        """Return the keys of the runs that are at work."""
        return [self._specs[index].key for index in self._began]

    def __call__(self, event: Event) -> None:
        """Take down an event.

        Raises:
            StorageError: If it says that the store cannot be written any more.
        """
        if event.kind == "began":
            self._began[event.index] = time.time()
            self._progress.began(event.index)
        elif event.kind == "lost":
            self._lost(event)
        elif event.kind == "given up":
            print(f"{self._names[event.worker]} is given up: it {event.reason}", file=sys.stderr)
        else:
            self._answered(event)

    def _answered(self, event: Event) -> None:
        answer, spec = event.answer, self._specs[event.index]
        assert answer is not None
        self._began.pop(event.index, None)
        if answer.outcome == "storage":
            raise StorageError(f"run {spec.key} is not finished: {answer.line}")
        if answer.outcome == "elsewhere":
            self._progress.put_back(event.index)
            if not self._waiting:
                print(f"waiting: {spec.key} is being carried out by {answer.line}", file=sys.stderr)
            self._waiting = True
            return
        if answer.ended:
            self._span(event.worker, spec, answer.began, answer.ended, answer.outcome)
        if answer.line:
            print(answer.line, file=sys.stderr)
        self.failures += answer.outcome == "failed"
        if answer.outcome == "finished":
            self.finished.append(spec.key)
        self._progress.done(event.index, _label(spec))

    def _lost(self, event: Event) -> None:
        spec = self._specs[event.index]
        self._span(event.worker, spec, self._began.pop(event.index), time.time(), "lost")
        self._losses[event.index] = self._losses.get(event.index, 0) + 1
        if not event.again:
            # A run that kills its worker would kill the next command's from the same place.
            remove_checkpoints(self._store.folder / "checkpoints" / spec.key)
            self.give_up(event.index, f"{LIMIT} workers were lost on it; the last one {event.reason}")
            return
        self._progress.put_back(event.index)
        print(
            f"{self._names[event.worker]} was lost: it {event.reason}; run {spec.key} is tried again", file=sys.stderr
        )

    def _span(self, worker: int, spec: RunSpec, began: float, ended: float, outcome: str) -> None:
        self._spans.append(Span(worker=worker, key=spec.key, began=began, ended=ended, outcome=outcome))

    def give_up(self, index: int, message: str) -> None:
        """Note that a run failed for want of workers."""
        spec = self._specs[index]
        noted = self._store.record_failure(spec, stage="worker", message=message, details=message)
        self.failures += 1
        print(f"run {spec.key} failed (worker): {message}; details in {noted}", file=sys.stderr)
        self._progress.done(index, _label(spec))


def _label(spec: RunSpec) -> str:
    return f"{spec.label} · {spec.task} · seed {spec.seed}"


def _say_busy(spans: Sequence[Span], workers: int, console: Console) -> None:
    if workers > 1 and spans:
        share = 100 * busy_share(spans, workers)
        console.print(
            f"{workers} workers had a run at work {share:.1f} % of {wall_seconds(spans):.0f} s",
            highlight=False,
            soft_wrap=True,
        )


def _clean(store: RunStore, keys: Sequence[str]) -> None:
    """Remove what ended workers were writing, as soon as the system has let them go."""
    deadline = time.monotonic() + _GONE_WITHIN
    while time.monotonic() < deadline:
        store.remove_unfinished()
        if not any(key in folder.name for key in keys for folder in store.runs.glob(".unfinished-*")):
            break
        time.sleep(0.2)
    for key in keys:
        # Its file too goes with the lock.
        with store.claimed(key):
            pass


def _await_visible(store: RunStore, keys: Sequence[str]) -> None:
    """Wait until this machine sees what others have finished: network folders show it some seconds later."""
    deadline = time.monotonic() + VISIBLE_WITHIN
    while not all(store.is_complete(key) for key in keys) and time.monotonic() < deadline:
        list(store.runs.iterdir())
        time.sleep(0.5)
