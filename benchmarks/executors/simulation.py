"""A grid without its runs: the policy of `schedule` over given run times, at any size, in a moment.

Workers become ready after a start, take runs from the very queue that executors use, and are lost at random times at a
constant rate (an exponential law); a run that was lost goes on from its last checkpoint on the worker that takes it
next, and its worker is back after a while. What comes out are spans of the same kind that executors note, so that the
idle share is the same number.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.executors.busy import Span, busy_seconds
from benchmarks.executors.schedule import RunQueue


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a grid meets beside its runs; times in seconds.

    Attributes:
        workers: How many there are.
        start: From the command to the moment at which a worker is ready, least and most; drawn evenly between them.
        pause: Of a worker from one run to the next.
        losses_per_hour: Of one worker.
        restart: Until a worker that was lost is ready again.
        checkpoint: From one checkpoint of a run to the next; None if a run that was lost begins anew.
    """

    workers: int
    start: tuple[float, float] = (0.0, 0.0)
    pause: float = 0.0
    losses_per_hour: float = 0.0
    restart: float = 0.0
    checkpoint: float | None = None


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """How a grid went.

    Attributes:
        spans: Who had which run at work, in the order of their starts; the key is the run's number.
        workers: How many there were.
        losses: Workers that were lost on a run.
        given_up: Runs that were not finished.
        repeated_seconds: Work that was done again because it was lost after a checkpoint.
    """

    spans: tuple[Span, ...]
    workers: int
    losses: int
    given_up: int
    repeated_seconds: float

    @property
    def seconds(self) -> float:
        """From the command to the end of the last run."""
        return max((span.ended for span in self.spans), default=0.0)

    @property
    def idle_share(self) -> float:
        """Share of the workers' time, from the command to the end of the last run, without a run at work."""
        whole = self.workers * self.seconds
        return 1 - sum(busy_seconds(self.spans, self.workers)) / whole if whole else 0.0


class _Simulation:
    def __init__(
        self,
        expected: Sequence[float],
        seconds: Sequence[float],
        conditions: Conditions,
        families: Sequence[Hashable] | None,
        learning: bool,
        generator: np.random.Generator,
    ) -> None:
        self._queue = RunQueue(expected, families=families)
        self._seconds = tuple(seconds) if learning else (None,) * len(seconds)
        self._left = list(seconds)
        self._conditions = conditions
        self._generator = generator
        # When, in which order at equal times, which worker; the run and the moment at which it began, if it ends one.
        self._events: list[tuple[float, int, int, tuple[int, float, bool] | None]] = []
        self._count = 0
        self._ready: set[int] = set()
        self._waiting: list[int] = []
        self.spans: list[Span] = []
        self.losses = self.given_up = 0
        self.repeated = 0.0

    def run(self) -> None:
        conditions = self._conditions
        for worker in range(conditions.workers):
            self._push(float(self._generator.uniform(*conditions.start)), worker)
        while self._events and not self._queue.is_settled:
            now, _, worker, ended = heapq.heappop(self._events)
            if ended is not None:
                self._end(now, worker, *ended)
            else:
                self._ready.add(worker)
                self._take(now, worker)

    def _push(self, time: float, worker: int, ended: tuple[int, float, bool] | None = None) -> None:
        heapq.heappush(self._events, (time, self._count, worker, ended))
        self._count += 1

    def _take(self, now: float, worker: int) -> None:
        index = self._queue.take(worker, now=now, ready=self._ready)
        if index is None:
            self._waiting.append(worker)
            return
        rate = self._conditions.losses_per_hour / 3600
        until_lost = float(self._generator.exponential(1 / rate)) if rate else math.inf
        lost = until_lost < self._left[index]
        self._push(now + min(until_lost, self._left[index]), worker, (index, now, lost))

    def _end(self, now: float, worker: int, index: int, began: float, lost: bool) -> None:
        outcome = "lost" if lost else "finished"
        self.spans.append(Span(worker=worker, key=str(index), began=began, ended=now, outcome=outcome))
        if not lost:
            self._queue.settle(index, seconds=self._seconds[index])
            self._push(now + self._conditions.pause, worker)
            return
        self.losses += 1
        self._ready.discard(worker)
        done = now - began
        kept = 0.0 if self._conditions.checkpoint is None else done - done % self._conditions.checkpoint
        self._left[index] -= kept
        self.repeated += done - kept
        self.given_up += not self._queue.lose(index, worker)
        self._push(now + self._conditions.restart, worker)
        waiting, self._waiting = self._waiting, []
        for other in waiting:
            self._take(now, other)


def simulate(
    expected: Sequence[float],
    seconds: Sequence[float],
    conditions: Conditions,
    *,
    families: Sequence[Hashable] | None = None,
    learning: bool = True,
    seed: int = 0,
) -> Simulated:
    """Carry out a grid on paper.

    Args:
        expected: Seconds that each run is expected to take, by which the queue orders them.
        seconds: Seconds that it takes.
        conditions: What the grid meets.
        families: Which runs are expected to take equally long; None makes each its own.
        learning: Whether the queue is told what runs took.
        seed: Of all that is drawn.
    """
    simulation = _Simulation(expected, seconds, conditions, families, learning, np.random.default_rng(seed))
    simulation.run()
    return Simulated(
        spans=tuple(sorted(simulation.spans, key=lambda span: span.began)),
        workers=conditions.workers,
        losses=simulation.losses,
        given_up=simulation.given_up,
        repeated_seconds=simulation.repeated,
    )


def lower_bound(seconds: Sequence[float], workers: int) -> float:
    """Return the seconds that no schedule can be below: the work shared evenly, or the longest run."""
    return max(math.fsum(seconds) / workers, max(seconds, default=0.0))
