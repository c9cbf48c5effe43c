"""Shows which space and part is being measured, the current estimate, and how much time is left.

On a terminal this is one live line with a bar; elsewhere one plain line a part.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text


class _TimeLeft(ProgressColumn):
    """The part's elapsed time scaled to the rest of it."""

    def render(self, task: Task) -> Text:
        if not task.completed or not task.total or task.elapsed is None:
            return Text("--:-- left")
        left = task.elapsed * (task.total - task.completed) / task.completed
        return Text(f"{left // 60:.0f}:{left % 60:02.0f} left")


class Display:
    """Progress over the parts of a measurement, one part at a time."""

    def __init__(self, console: Console, *, parts: int) -> None:
        self._console = console
        self._parts = parts
        self._done = 0
        self._started = 0.0
        self._name = ""
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), _TimeLeft(), TextColumn("{task.fields[note]}"),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=1.0, note="")

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._bar.stop()

    def begin(self, name: str) -> None:
        """Begin a part."""
        self._name, self._started = name, time.perf_counter()
        self._bar.reset(self._task, description=f"[{self._done + 1}/{self._parts}] {name}", note="")

    def report(self, fraction: float, note: str) -> None:
        """Take the progress of the current part, see `analysis.progress`."""
        self._bar.update(self._task, completed=fraction, note=note)

    def end(self, outcome: str) -> None:
        """End the part with its outcome in a few words."""
        self._done += 1
        seconds = time.perf_counter() - self._started
        self._console.print(f"[{self._done}/{self._parts}] {self._name}: {outcome} ({seconds:.1f} s)", markup=False)
