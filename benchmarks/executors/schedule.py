"""Which run a worker takes next: the one policy of every executor, and of the simulation of a grid.

Workers pull: whoever is free takes the longest run that is left, by what runs are expected to take. So short runs fill
the end, and where expectations are right the whole takes at most 4/3 of the shortest possible time (Graham, Bounds on
multiprocessing timing anomalies, 1969). Expectations are learnt: runs that differ in their seed alone are a family, and
what those of a family took that are finished is what the others are expected to take; a family without a finished run
is scaled as those with some turned out. Runs that are expected to take equally long keep their order.

A run whose worker was lost goes back to its place in the queue, for another worker if there is one, and is given up
after `LIMIT` losses: a run that kills its worker would otherwise kill them all. A run that another command is at work
on is looked at again later. There is neither a clock nor a thread here: the caller says what time it is.
"""

from __future__ import annotations

import bisect
import heapq
import statistics
from collections.abc import Collection, Hashable, Sequence

#: Workers that may be lost on one run.
LIMIT = 3


class RunQueue:
    """Runs by number, from 0.

    Args:
        expected: Seconds that each is expected to take, equal in a family; at first only their order matters.
        families: Which family each belongs to; None makes each its own.
        limit: Workers that may be lost on a run before it is given up.
    """

    def __init__(
        self, expected: Sequence[float], *, families: Sequence[Hashable] | None = None, limit: int = LIMIT
    ) -> None:
        self._family = tuple(range(len(expected)) if families is None else families)
        self._guess = dict(zip(self._family, expected, strict=True))
        # Seconds and number of the finished runs of a family.
        self._took: dict[Hashable, tuple[float, int]] = {}
        self._waiting: dict[Hashable, list[int]] = {}
        for index, family in enumerate(self._family):
            self._waiting.setdefault(family, []).append(index)
        self._limit = limit
        self._postponed: list[tuple[float, int]] = []
        self._lost_on: dict[int, list[int]] = {}
        self._unsettled = set(range(len(expected)))

    @property
    def unsettled(self) -> frozenset[int]:
        """The runs that are neither finished nor given up."""
        return frozenset(self._unsettled)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return not self._unsettled

    def take(self, worker: int, *, now: float = 0.0, ready: Collection[int] = ()) -> int | None:
        """Return the run that a worker is to do, or None if there is none for it now.

        Args:
            worker: Its number.
            now: Seconds on the caller's clock.
            ready: Numbers of the workers that could take a run; a run that this worker was lost on is left to
                another one of them.
        """
        while self._postponed and self._postponed[0][0] <= now:
            self._put(heapq.heappop(self._postponed)[1])
        for family in self._longest_first():
            for index in self._waiting[family]:
                if self._is_for(worker, index, ready):
                    self._remove(family, index)
                    return index
        return None

    def _longest_first(self) -> list[Hashable]:
        took = {family: seconds / count for family, (seconds, count) in self._took.items()}
        ratios = [seconds / self._guess[family] for family, seconds in took.items() if self._guess[family]]
        scale = statistics.median(ratios) if ratios else 1.0

        def place(family: Hashable) -> tuple[float, int]:
            return -took.get(family, self._guess[family] * scale), self._waiting[family][0]

        return sorted(self._waiting, key=place)

    def _put(self, index: int) -> None:
        bisect.insort(self._waiting.setdefault(self._family[index], []), index)

    def _remove(self, family: Hashable, index: int) -> None:
        self._waiting[family].remove(index)
        if not self._waiting[family]:
            del self._waiting[family]

    def _is_for(self, worker: int, index: int, ready: Collection[int]) -> bool:
        lost_on = self._lost_on.get(index, ())
        return worker not in lost_on or all(other in lost_on for other in ready)

    def settle(self, index: int, *, seconds: float | None = None) -> None:
        """Note that a run is done, well or not, and what it took if that says something of its family."""
        self._unsettled.discard(index)
        if seconds is not None:
            earlier, count = self._took.get(self._family[index], (0.0, 0))
            self._took[self._family[index]] = (earlier + seconds, count + 1)

    def lose(self, index: int, worker: int) -> bool:
        """Note that a worker was lost on a run; returns whether the run is tried again."""
        self._lost_on.setdefault(index, []).append(worker)
        if self.losses(index) >= self._limit:
            self.settle(index)
            return False
        self._put(index)
        return True

    def losses(self, index: int) -> int:
        """Return how many workers were lost on a run."""
        return len(self._lost_on.get(index, ()))

    def postpone(self, index: int, *, until: float) -> None:
        """Give a run back that another command is at work on, to be looked at again."""
        heapq.heappush(self._postponed, (until, index))
