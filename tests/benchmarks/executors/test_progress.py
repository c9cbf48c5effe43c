from __future__ import annotations

import io

from rich.console import Console

from benchmarks.executors.progress import GridProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_run_that_ends_is_a_line_with_the_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with GridProgress([1.0, 1.0, 2.0], 2, Console(file=stream, width=120), clock=clock) as progress:
        progress.began(2)
        progress.began(0)
        clock.now += 60.0
        progress.done(0, "lora · seed 0")
        # One unit took 60 s, and the run at work is half done: as much time again for the other two units.
        progress.began(1)
        clock.now += 60.0
        progress.done(1, "lora · seed 1")
        progress.done(2, "bilora · seed 0")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[1/3] lora · seed 0: 60 s · 1 min left"
    assert lines[1].startswith("[2/3] lora · seed 1: 60 s")
    assert lines[2] == "[3/3] bilora · seed 0: 120 s"


def test_the_live_line_counts_runs_and_workers() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=140, force_terminal=True, color_system=None)
    with GridProgress([1.0] * 4, 3, console) as progress:
        progress.began(0)
        progress.began(1)
        progress.put_back(1)
        progress._bar.refresh()
    assert "0 of 4 runs done, 1 at work (2 of 3 workers starting or waiting)" in stream.getvalue()


def test_a_run_that_takes_longer_than_expected_is_not_shown_as_done() -> None:
    clock = Clock()
    progress = GridProgress([1.0, 1.0], 1, Console(file=io.StringIO()), clock=clock)
    progress.began(0)
    clock.now += 1000.0
    assert progress._completed(clock.now) == 0.95
