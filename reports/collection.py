"""A folder of runs that no comparison planned: what claims, sweeps and several commands together leave behind.

Everything that is readable is shown: each method under its main setting, the other settings beside it (see
`reports.settings`). There is no plan, so nothing is missing; a method that a task has no runs of is simply not there.
Two runs of one setting and seed would count one training twice: the one that was measured is kept, else the later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from reports.fields import RunStoreError, read_record, text
from reports.runs import Run
from reports.settings import main_runs, setting_of
from reports.style import METHODS

#: A method that others are compared with where no comparison names one.
_BASELINE = "lora"


def split(runs: Mapping[str, Run]) -> tuple[tuple[Run, ...], tuple[Run, ...], dict[str, str]]:
    """Return the runs of main settings, those of other settings, and why a run counts as neither (key -> reason)."""
    kept: dict[tuple[object, ...], Run] = {}
    for run in sorted(runs.values(), key=lambda run: (run.measurement is None, _negated(run.finished), run.key)):
        kept.setdefault((run.task, run.method, run.seed, setting_of(run)), run)
    single = {run.key: run for run in kept.values()}
    repeats = {
        key: f"repeats {kept[run.task, run.method, run.seed, setting_of(run)].key}, a run of the same setting and seed"
        for key, run in runs.items()
        if key not in single
    }
    ordered = [run for key, run in runs.items() if key in single]
    main = {run.key for run in main_runs(ordered)}
    return (
        tuple(run for run in ordered if run.key in main),
        tuple(run for run in ordered if run.key not in main),
        repeats,
    )


def baseline_of(methods: Iterable[str]) -> str:
    """Return the method that the others are compared with: plain LoRA, or the first where it was not run."""
    names = tuple(methods)
    return _BASELINE if _BASELINE in names else names[0]


def known_order(methods: set[str]) -> tuple[str, ...]:
    """Return methods in the order in which they are listed everywhere, variants of plain LoRA after it."""
    known = list(METHODS)

    def place(name: str) -> tuple[bool, str, int, str]:
        variant, _, method = name.rpartition("+")
        return bool(variant), variant, known.index(method) if method in known else len(known), name

    return tuple(sorted(methods, key=place))


def origin(folder: Path, runs: Iterable[Run]) -> tuple[str, str]:
    """Return the command that made the runs, where one is recorded, and the time of the newest."""
    command = ""
    if (folder / "claims.json").is_file():
        try:
            command = text(read_record(folder / "claims.json"), "command")
        except RunStoreError:
            command = ""
    return command, max((run.finished for run in runs), default="")


def _negated(stored: str) -> tuple[int, ...]:
    # ISO times sort as text; the later one is to come first among otherwise ascending keys.
    return tuple(-ord(letter) for letter in stored)
