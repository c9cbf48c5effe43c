"""Hands jobs to workers until all are settled, whatever becomes of the workers.

Every worker has a thread here that starts it, takes a run from the queue, waits for the answer, and takes the next;
what they find out is told to the caller's thread alone. A worker that is lost is started again, and its run goes to
another one; a worker that cannot be started `STARTS` times in a row is given up, and the others go on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from benchmarks.executors.job import Answer, Job
from benchmarks.executors.schedule import RunQueue

#: Times that a worker may fail to start, one after the other.
STARTS = 3
#: Seconds from one look at a run that another command is at work on to the next.
LOOK_AGAIN = 1.0
#: Seconds from one call of `tick` to the next.
TICK = 0.5


class Stopped(Exception):
    """The command is being left: nothing is started or noted any more."""


class WorkerLost(Exception):
    """A worker is gone; the text completes the sentence "the worker ..."."""


class Worker(Protocol):
    """What carries out one job at a time, and is waited for.

    Attributes:
        number: Its number among the workers.
        name: For messages.
    """

    number: int
    name: str

    def start(self, wanted: Callable[[], bool]) -> bool:
        """Make it ready, unless it is; returns False if it was not ready before it was no longer `wanted`."""

    def carry_out(self, job: Job) -> Answer:
        """Carry out a job."""

    def stop(self) -> None:
        """End it, at once if it is at work."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that became known.

    Attributes:
        kind: What happened: a run "began" or was "answered", its worker was "lost", or a worker is "given up".
        worker: Number of the worker.
        index: Of the run; -1 where a worker is given up.
        answer: Where there is one.
        reason: How a worker was lost.
        again: Whether the run of a lost worker is tried again.
    """

    kind: Literal["began", "answered", "lost", "given up"]
    worker: int
    index: int = -1
    answer: Answer | None = None
    reason: str = ""
    again: bool = True


class _Dispatch:
    """One list of jobs on its way; what its threads share is guarded by `_changed`."""

    def __init__(self, jobs: Sequence[Job], runs: RunQueue, failed_elsewhere: Callable[[int], bool]) -> None:
        self._jobs = jobs
        self._queue = runs
        self._failed_elsewhere = failed_elsewhere
        self._changed = threading.Condition()
        self._ready: set[int] = set()
        self._elsewhere: set[int] = set()
        self._left = False
        self.events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()

    def attend(self, worker: Worker) -> None:
        """Keep a worker at work until nothing is left; runs in a thread of its own."""
        try:
            while self._start(worker) and (index := self._next(worker.number)) is not None:
                self._attempt(worker, index)
        except Stopped:
            pass
        except BaseException as error:
            # Left alone in its thread, the caller would wait for ever.
            self.events.put(error)

    def _start(self, worker: Worker) -> bool:
        reason = ""
        for _ in range(STARTS):
            try:
                if not (self.is_wanted() and worker.start(self.is_wanted)):
                    return False
            except WorkerLost as loss:
                reason = str(loss)
                continue
            with self._changed:
                self._ready.add(worker.number)
            return True
        self.events.put(Event(kind="given up", worker=worker.number, reason=reason))
        return False

    def is_wanted(self) -> bool:
        """Whether there is anything left to do."""
        with self._changed:
            return not (self._left or self._queue.is_settled)

    def _next(self, worker: int) -> int | None:
        """Wait for a run that this worker can take; None when all are settled."""
        with self._changed:
            while not (self._left or self._queue.is_settled):
                index = self._queue.take(worker, now=time.monotonic(), ready=self._ready)
                if index is not None:
                    return index
                self._changed.wait(timeout=TICK)
        return None

    def _attempt(self, worker: Worker, index: int) -> None:
        if index in self._elsewhere and self._failed_elsewhere(index):
            self._settle(index, Event(kind="answered", worker=worker.number, index=index, answer=_FAILED_ELSEWHERE))
            return
        self.events.put(Event(kind="began", worker=worker.number, index=index))
        try:
            answer = worker.carry_out(self._jobs[index])
        except WorkerLost as loss:
            with self._changed:
                self._ready.discard(worker.number)
                again = self._queue.lose(index, worker.number)
                self._changed.notify_all()
            self.events.put(Event(kind="lost", worker=worker.number, index=index, reason=str(loss), again=again))
            return
        event = Event(kind="answered", worker=worker.number, index=index, answer=answer)
        if answer.outcome != "elsewhere":
            self._settle(index, event)
            return
        with self._changed:
            self._elsewhere.add(index)
            self._queue.postpone(index, until=time.monotonic() + LOOK_AGAIN)
        self.events.put(event)

    def _settle(self, index: int, event: Event) -> None:
        self.events.put(event)
        with self._changed:
            answer = event.answer
            # What failed, or was found finished, says nothing of how long such runs take.
            done = answer is not None and answer.outcome == "finished" and answer.ended > answer.began
            self._queue.settle(index, seconds=answer.ended - answer.began if answer and done else None)
            self._changed.notify_all()

    def unsettled(self) -> frozenset[int]:
        """Return the runs that are neither finished nor given up."""
        with self._changed:
            return self._queue.unsettled

    def leave(self) -> None:
        """Have every thread end as soon as its worker lets it."""
        with self._changed:
            self._left = True
            self._changed.notify_all()


_FAILED_ELSEWHERE = Answer(outcome="failed")  # the other command has said why


def dispatch(
    jobs: Sequence[Job],
    *,
    runs: RunQueue,
    workers: Sequence[Worker],
    told: Callable[[Event], None],
    tick: Callable[[], None] = lambda: None,
    failed_elsewhere: Callable[[int], bool] = lambda index: False,
) -> frozenset[int]:
    """Carry out jobs, one at a time on every worker, the longest first.

    Args:
        jobs: What to do.
        runs: The queue of them, by number.
        workers: Who does it. They stay as they are at the end, for more jobs.
        told: Told of everything that happens, in the caller's thread; what it raises ends the dispatch.
        tick: Called about twice a second, in the caller's thread.
        failed_elsewhere: Whether another command has noted meanwhile that a run failed.

    Returns:
        The jobs that are left because every worker was given up.
    """
    going = _Dispatch(jobs, runs, failed_elsewhere)
    threads = [threading.Thread(target=going.attend, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) or not going.events.empty():
            try:
                event = going.events.get(timeout=TICK if going.unsettled() else 0.01)
            except queue.Empty:
                tick()
                continue
            if isinstance(event, BaseException):
                raise event
            told(event)
    except BaseException:
        going.leave()
        for worker in workers:
            worker.stop()
        raise
    return going.unsettled()
