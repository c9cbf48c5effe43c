"""Shows how far a grid is: how many runs are done, at work and lost, and how much time is left.

On a terminal this is one live line with a bar; elsewhere one plain line for every run that ends. Runs that are at work
count by the time they have had, of what they are expected to take at the pace of those that are done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console

from benchmarks.progress import live_bar

#: A run that takes longer than expected is not shown as done.
_MOST = 0.95


class GridProgress:
    """Progress over runs that are carried out at once.

    Args:
        expected: Seconds that each run is expected to take, on any scale.
        workers: How many can be at work.
        console: Where to draw.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        expected: Sequence[float],
        workers: int,
        console: Console,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._workers = workers
        self._console = console
        self._clock = clock
        self._began: dict[int, float] = {}
        self._done: set[int] = set()
        # Of the runs that are done: what they took, and what they were expected to take.
        self._seconds = self._finished = 0.0
        self._total = sum(expected)
        self._started = clock()
        self._bar = live_bar(console)
        self._task = self._bar.add_task("starting workers", total=self._total or 1.0)

    def __enter__(self) -> GridProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def began(self, index: int) -> None:
        """Note that a run is at work."""
        self._began[index] = self._clock()
        self.show()

    def put_back(self, index: int) -> None:
        """Note that a run is not at work any more, and not done."""
        self._began.pop(index, None)
        self.show()

    def done(self, index: int, label: str) -> None:
        """Note that a run is done, well or not, and say so in a line of its own."""
        now = self._clock()
        seconds = now - self._began.pop(index, now)
        self._done.add(index)
        self._finished += self._expected[index]
        self._seconds += seconds
        self.show()
        left = self._left(now)
        rest = f" · {left / 60:.0f} min left" if left >= 60 else f" · {left:.0f} s left" if left else ""
        line = f"[{len(self._done)}/{len(self._expected)}] {label}: {seconds:.0f} s{rest}"
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def show(self) -> None:
        """Draw the state of now."""
        at_work = len(self._began)
        text = f"{len(self._done)} of {len(self._expected)} runs done, {at_work} at work"
        if at_work < self._workers and len(self._done) + at_work < len(self._expected):
            text += f" ({self._workers - at_work} of {self._workers} workers starting or waiting)"
        self._bar.update(self._task, completed=self._completed(self._clock()), description=text)

    def _completed(self, now: float) -> float:
        pace = self._seconds / self._finished if self._finished and self._seconds else 1.0
        running = (min((now - began) / pace, _MOST * self._expected[index]) for index, began in self._began.items())
        return self._finished + sum(running)

    def _left(self, now: float) -> float:
        """Return the elapsed time scaled to the rest of the work."""
        completed = self._completed(now)
        return (now - self._started) * (self._total - completed) / completed if completed else 0.0
