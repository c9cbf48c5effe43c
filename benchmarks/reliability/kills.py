"""Kills a sweep at random moments and lets the same command go on: is anything lost, repeated or read half-written?

Moments are uniform over the time that an uninterrupted sweep works, drawn from a seed. A sweep that ends before its
moment has its tables compared with the uninterrupted one's, and another sweep is begun, until all kills have been made.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reliability.launcher import Launcher
from benchmarks.reliability.sweep import Sweep, kill_after, uninterrupted, write_examples


@dataclass
class _Tally:
    kills: int = 0
    sweeps: int = 0
    identical: int = 0
    repeated: int = 0
    unreadable: int = 0
    in_training: int = 0


def kill_sweeps(
    folder: Path, *, kills: int, seed: int, sweep: Sweep | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Make the kills; returns the section of the record.

    Args:
        folder: An empty folder to work in.
        kills: How many.
        seed: Of the moments.
        sweep: What is swept in place of the default; its examples are written here.
        say: Told of every kill.
    """
    data = write_examples(folder / "kills.jsonl")
    reference = Sweep(out=folder / "reference", data=data) if sweep is None else replace(sweep, data=data)
    tally = _Tally()
    with Launcher(folder / "log") as launcher:
        length = uninterrupted(launcher, reference)
        say(f"an uninterrupted sweep works {length:.1f} s")
        _kill_all(launcher, reference, kills=kills, moments=random.Random(seed), length=length, tally=tally, say=say)
    runs = len(reference.finished())
    lossless = tally.identical == tally.sweeps and not tally.repeated and not tally.unreadable
    return {
        "kills": tally.kills,
        "lossless_kills": tally.kills if lossless else None,
        "sweeps": tally.sweeps,
        "sweeps_identical_to_an_uninterrupted_one": tally.identical,
        "finished_runs_repeated": tally.repeated,
        "complete_files_that_could_not_be_read": tally.unreadable,
        "kills_with_a_checkpoint_on_the_disk": tally.in_training,
        "runs_of_a_sweep": runs,
        "methods": reference.methods.split(","),
        "steps": reference.steps,
        "seconds_of_a_sweep": round(length, 1),
        "seed": seed,
    }


def _kill_all(
    launcher: Launcher,
    reference: Sweep,
    *,
    kills: int,
    moments: random.Random,
    length: float,
    tally: _Tally,
    say: Callable[[str], None],
) -> None:
    while tally.kills < kills:
        tally.sweeps += 1
        current = replace(reference, out=reference.out.with_name(f"sweep-{tally.sweeps}"))
        done: dict[str, int] = {}
        while tally.kills < kills:
            seconds = moments.uniform(0.0, length)
            killed = kill_after(launcher.start(current.arguments), current, seconds=seconds)
            done = _look(current, done, tally)
            if not killed:
                break
            tally.kills += 1
            tally.in_training += any((current.out / "checkpoints").glob("*/state.json"))
            say(f"kill {tally.kills} of {kills} after {seconds:.1f} s: {len(done)} runs are finished")
        uninterrupted(launcher, current)
        _look(current, done, tally)
        same = _same(reference, current)
        tally.identical += same
        say(f"sweep {tally.sweeps}: {'identical to' if same else 'DIFFERENT from'} the uninterrupted one")


def _look(sweep: Sweep, before: dict[str, int], tally: _Tally) -> dict[str, int]:
    """Read all that is complete, and compare it with what was complete before."""
    try:
        found = sweep.finished()
    except ValueError:
        tally.unreadable += 1
        return before
    tally.repeated += sum(found.get(key) != time for key, time in before.items())
    return found


def _same(reference: Sweep, other: Sweep) -> bool:
    try:
        pd.testing.assert_frame_equal(reference.table(), other.table(), check_exact=True)
    except AssertionError:
        return False
    left, right = reference.texts(), other.texts()
    leftovers = [path for name in ("checkpoints", "failed") for path in (other.out / name).glob("*")]
    unfinished = list((other.out / "runs").glob(".*"))
    return left == right and not leftovers and not unfinished
