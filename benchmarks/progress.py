"""Shows which run is being worked on, at which step and loss, and how much time is left.

On a terminal this is one live line with a bar; elsewhere (a log file, CI) one plain line per stage, and within a
long stage one a minute. The time left is the elapsed time scaled by the share of the work that remains, where a run
counts by its steps times what the paper prints for the cost of its method's step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

# Shares of a run's wall-clock time, as measured on the shipped task with plain LoRA.
STAGE_SHARES = {"training": 0.6, "scoring": 0.15, "measuring": 0.25}
# Seconds between the plain lines of a stage.
QUIET_SECONDS = 60.0
Update = Callable[[float, str], None]


class TimeLeft(ProgressColumn):
    """Elapsed time scaled to the rest of the work."""

    def render(self, task: Task) -> Text:
        """Return the time in minutes and seconds."""
        if not task.completed or not task.total or task.elapsed is None:
            return Text("time left --:--")
        left = task.elapsed * (task.total - task.completed) / task.completed
        return Text(f"{left // 60:.0f}:{left % 60:02.0f} left")


def live_bar(console: Console) -> Progress:
    """Return one live line: bar, share, time left, and what is being done; nothing is drawn but on a terminal."""
    return Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeLeft(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class ComparisonProgress:
    """Progress over the runs of a comparison.

    Args:
        weights: Relative cost of each run, in order.
        console: Where to draw.
    """

    def __init__(self, weights: list[float], console: Console) -> None:
        self._weights = weights
        self._console = console
        self._done = 0.0
        self._bar = live_bar(console)
        self._task = self._bar.add_task("", total=sum(weights) or 1.0)

    def __enter__(self) -> ComparisonProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @contextmanager
    def run(self, index: int, label: str) -> Iterator[RunProgress]:
        """Follow one run; its share of the bar is full at the end, however it ends."""
        started = time.perf_counter()
        yield RunProgress(self, index, label)
        self._done += self._weights[index]
        self._bar.update(self._task, completed=self._done)
        self._console.print(f"[{index + 1}/{len(self._weights)}] {label}: {time.perf_counter() - started:.0f} s")

    def show(self, index: int, fraction: float, description: str) -> None:
        """Draw the state of a run: `fraction` of it is done."""
        completed = self._done + self._weights[index] * fraction
        self._bar.update(self._task, completed=completed, description=description)

    def say(self, line: str) -> None:
        """Print a plain line where there is no live display."""
        if not self._console.is_terminal:
            self._console.print(line)


class RunProgress:
    """Progress of one run through its stages."""

    def __init__(self, parent: ComparisonProgress, index: int, label: str) -> None:
        self._parent = parent
        self._index = index
        self._label = label
        self._stage = ""

    def stage(self, name: str) -> Update:
        """Begin a stage of `STAGE_SHARES` and return its `update(fraction, note)`; said once if begun twice."""
        names = list(STAGE_SHARES)
        before = sum(STAGE_SHARES[earlier] for earlier in names[: names.index(name)])
        said = time.monotonic()

        def update(fraction: float, note: str) -> None:
            nonlocal said
            share = before + STAGE_SHARES[name] * fraction
            self._parent.show(self._index, share, f"{self._label} · {name} {note}")
            if time.monotonic() - said >= QUIET_SECONDS:
                said = time.monotonic()
                self._parent.say(f"      {self._label}: {name}, {fraction:.0%}, {note}")

        if name != self._stage:
            self._parent.say(f"      {self._label}: {name}")
        self._stage = name
        update(0.0, "")
        return update
