"""Reads one finished run from its folder of the run store.

A run without readable `run.json` is refused with the reason; a missing or malformed side file (history, examples,
measurement) costs only what it would have shown, and the reason is kept with the run so that the hole in the
table can say why it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from reports.dynamics import read_dynamics
from reports.fields import Record, RunStoreError, check_schema, mapping, number, read_record, read_records, text
from reports.harness import SIDE_FILE, harness_columns
from reports.measurements import read_measurement
from reports.runs import Example, Failure, Run

_Content = TypeVar("_Content")


def load_run(folder: Path) -> Run:
    """Return the run that a folder holds.

    Raises:
        RunStoreError: If its `run.json` cannot be used.
    """
    record = read_record(folder / "run.json")
    check_schema(record, "run.json")
    key = text(record, "key")
    if key != folder.name:
        raise RunStoreError(f"run.json carries key {key!r}, but its folder is called {folder.name!r}")
    row = mapping(record, "row")
    method, task, seed = text(row, "method"), text(row, "task"), number(row, "seed")
    if not method or not task or seed is None or not seed.is_integer():
        raise RunStoreError("run.json has no method, task or whole seed in its row")
    faults: dict[str, str] = {}
    return Run(
        key=key,
        method=method,
        task=task,
        seed=int(seed),
        spec=mapping(record, "spec"),
        row={**row, **_side(folder / SIDE_FILE, _scores, {}, faults)},
        environment=mapping(record, "environment"),
        started=text(record, "started"),
        finished=text(record, "finished"),
        seconds=mapping(record, "seconds"),
        failure=_failure(mapping(record, "failure")),
        history=_side(folder / "history.json", read_records, (), faults, optional=False),
        examples=_side(folder / "examples.json", _examples, (), faults, optional=False),
        measurement=_side(folder / "measurement.json", read_measurement, None, faults),
        dynamics=_side(folder / "dynamics.json", read_dynamics, None, faults),
        reduced=_reduced(mapping(record, "micro_batch_size")),
        pictures=_side(folder / "pictures.npy", _pictures, None, faults),
        titles=_side(folder / "drawn.json", _titles, (), faults),
        faults=faults,
    )


def _side(
    path: Path, read: Callable[[Path], _Content], otherwise: _Content, faults: dict[str, str], *, optional: bool = True
) -> _Content:
    """Return what a side file holds; without a usable one `otherwise`, with the reason among the faults.

    Args:
        path: The file.
        read: Reads it; raises `RunStoreError` if it cannot be used.
        otherwise: What stands for a file that is not there or cannot be used.
        faults: File name -> why it could not be used.
        optional: Whether there may be no such file, so that its absence is no fault.
    """
    if optional and not path.exists():
        return otherwise
    try:
        return read(path)
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return otherwise


def _reduced(record: Record) -> tuple[int, int] | None:
    asked, used = number(record, "asked"), number(record, "used")
    return None if asked is None or used is None else (int(asked), int(used))


def _failure(record: Record) -> Failure | None:
    return Failure(stage=text(record, "stage"), message=text(record, "message")) if record else None


def _scores(path: Path) -> Record:
    return harness_columns(read_record(path))


def _titles(path: Path) -> tuple[str, ...]:
    return tuple(text(record, "title") for record in read_records(path))


def _examples(path: Path) -> tuple[Example, ...]:
    return tuple(_example(record) for record in read_records(path))


def _example(record: Record) -> Example:
    index, score = number(record, "index"), number(record, "score")
    if index is None or score is None:
        raise RunStoreError("examples.json has an example without a finite index and score")
    return Example(
        index=int(index),
        prompt=text(record, "prompt"),
        reference=text(record, "reference"),
        generated=text(record, "generated"),
        score=score,
    )


def _pictures(path: Path) -> NDArray[np.uint8]:
    try:
        # Mapped, not read: a header may claim more than any memory holds, a file cannot be larger than it is. And only
        # an array, where `np.load` would open an archive as well.
        found = np.lib.format.open_memmap(path, mode="r")
    except Exception as fault:  # NumPy reads the header with Python's own tokenizer and parser, which fail in many ways
        raise RunStoreError(f"{path.name} cannot be read: {' '.join(str(fault).split())[:200]}") from None
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[1] != 3:
        raise RunStoreError(f"{path.name} holds {found.dtype} {found.shape}, expected uint8 (examples, 3, side, side)")
    pictures: NDArray[np.uint8] = np.array(found)
    return pictures
