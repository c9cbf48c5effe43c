"""Hands thousands of damaged inputs to the code that reads them, and counts how they were answered.

Answered means: accepted, or refused in one complete line; within the time limit; with nothing written outside the
input's own folder, no program started, no connection made and no pickle read. Input number i of a kind depends on the
seed and i alone, so that a finding is made again by its number.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability.guard import TooSlow, watched
from benchmarks.reliability.target import Target
from benchmarks.reliability.targets import TARGETS

_SHOWN = 20


def fuzz(
    folder: Path,
    *,
    inputs: int,
    seed: int,
    kinds: tuple[str, ...] = (),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Hand in the inputs; returns the section of the record.

    Args:
        folder: An empty folder to work in.
        inputs: How many, over all kinds by their shares.
        seed: Of everything drawn.
        kinds: Names of the kinds to use, by how they begin; none for all.
        say: Told of progress and of every finding.
    """
    outside = folder / "outside"
    outside.mkdir(parents=True)
    (outside / "secret.json").write_text('{"secret": "do not read me out"}')
    before = _contents(outside)
    chosen = [target for target in TARGETS if not kinds or target.name.startswith(kinds)]
    whole = sum(target.share for target in chosen)
    sections: dict[str, Any] = {}
    findings: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in chosen:
            count = round(inputs * kind.share / whole)
            target = kind(folder / "good" / kind.name.replace(" ", "-"), outside)
            sections[kind.name] = _fuzz_kind(target, folder / "work", count=count, seed=seed, found=findings, say=say)
    if _contents(outside) != before:
        findings.append("the folder beside the inputs was touched")
    return {"seed": seed, **totals(sections), "findings": findings[:_SHOWN]}


def totals(kinds: dict[str, Any]) -> dict[str, Any]:
    """Return the kinds with how many inputs they had in all, and how many of them were answered."""
    sums = {name: sum(section[name] for section in kinds.values()) for name in ("inputs", "answered")}
    return {**sums, "kinds": kinds}


def merged(earlier: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    """Return a section with the kinds that an earlier one of the same seed has beside it."""
    if earlier.get("seed") != section["seed"]:
        return section
    others = {name: kind for name, kind in earlier["kinds"].items() if name not in section["kinds"]}
    # Findings begin with the name of their kind.
    kept = [finding for finding in earlier["findings"] if finding.startswith(tuple(others))] if others else []
    return section | totals(others | section["kinds"]) | {"findings": [*kept, *section["findings"]][:_SHOWN]}


def _fuzz_kind(
    target: Target, work: Path, *, count: int, seed: int, found: list[str], say: Callable[[str], None]
) -> dict[str, Any]:
    answers: Counter[str] = Counter()
    slowest, began = 0.0, time.monotonic()
    for number in range(count):
        _empty(work)
        started = time.monotonic()
        answer, finding = one(target, work, seed=seed, number=number)
        slowest = max(slowest, time.monotonic() - started)
        answers[answer] += 1
        if finding is not None:
            found.append(f"{target.name}, input {number}: {finding}")
            say(found[-1])
        if (number + 1) % 500 == 0:
            say(f"{target.name}: {number + 1} of {count}")
    return {
        "inputs": count,
        "answered": answers["accepted"] + answers["refused"],
        **dict(sorted(answers.items())),
        "seconds": round(time.monotonic() - began, 1),
        "slowest_seconds": round(slowest, 2),
        "limit_seconds": target.seconds,
    }


def one(target: Target, work: Path, *, seed: int, number: int) -> tuple[str, str | None]:
    """Make one input and have it answered; returns the answer, and what was wrong if anything was."""
    draw = random.Random(f"{seed} {target.name} {number}")
    place = Path.cwd()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)  # what is written under a name without a folder is found here
    try:
        with watched(work, seconds=target.seconds) as reached:
            answer = target.answer(work, draw)
        if reached:
            return "reached out", reached[0]
        if (work / "unpickled").exists():
            return "reached out", "code of the input was run"
    except TooSlow as error:
        return "too slow", str(error)
    except Exception as error:
        lines = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{Path(line.filename).name}:{line.lineno}" for line in reversed(lines[-4:]))
        return "traceback", f"{type(error).__name__}: {str(error)[:200]} ({where})"
    finally:
        os.chdir(place)
    return answer, None


def _empty(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)


def _contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}
