"""Which run a worker takes next: the one policy of every executor, and of the simulation of a grid.

Workers pull: whoever is free takes the longest run that is left, by what runs are expected to take. So short runs fill
the end, and the last worker to finish is at most 4/3 of the best possible time behind its start (Graham, Bounds on
multiprocessing timing anomalies, 1969), whatever the others do meanwhile. Runs that are expected to take equally long
keep their order.

A run whose worker was lost goes back to its place in the queue, for another worker if there is one, and is given up
after `LIMIT` losses: a run that kills its worker would otherwise kill them all. A run that another command is at work
on is looked at again later. There is neither a clock nor a thread here: the caller says what time it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

#: Workers that may be lost on one run.
LIMIT = 3


class RunQueue:
    """Runs by number, from 0.

    Args:
        expected: Seconds that each is expected to take; only their order matters.
        limit: Workers that may be lost on a run before it is given up.
    """

    def __init__(self, expected: Sequence[float], *, limit: int = LIMIT) -> None:
        self._expected = tuple(expected)
        self._limit = limit
        self._waiting = [(-seconds, index) for index, seconds in enumerate(expected)]
        heapq.heapify(self._waiting)
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
            index = heapq.heappop(self._postponed)[1]
            heapq.heappush(self._waiting, (-self._expected[index], index))
        left = []
        found = None
        while self._waiting and found is None:
            entry = heapq.heappop(self._waiting)
            if self._is_for(worker, entry[1], ready):
                found = entry[1]
            else:
                left.append(entry)
        for entry in left:
            heapq.heappush(self._waiting, entry)
        return found

    def _is_for(self, worker: int, index: int, ready: Collection[int]) -> bool:
        lost_on = self._lost_on.get(index, ())
        return worker not in lost_on or all(other in lost_on for other in ready)

    def settle(self, index: int) -> None:
        """Note that a run is done, well or not."""
        self._unsettled.discard(index)

    def lose(self, index: int, worker: int) -> bool:
        """Note that a worker was lost on a run; returns whether the run is tried again."""
        self._lost_on.setdefault(index, []).append(worker)
        if self.losses(index) >= self._limit:
            self.settle(index)
            return False
        heapq.heappush(self._waiting, (-self._expected[index], index))
        return True

    def losses(self, index: int) -> int:
        """Return how many workers were lost on a run."""
        return len(self._lost_on.get(index, ()))

    def postpone(self, index: int, *, until: float) -> None:
        """Give a run back that another command is at work on, to be looked at again."""
        heapq.heappush(self._postponed, (until, index))
