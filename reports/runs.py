"""One finished run, read from its folder of the run store.

A run without readable `run.json` is refused with the reason; a missing or malformed side file (history, examples,
measurement) costs only what it would have shown, and the reason is kept with the run so that the hole in the
table can say why it is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reports.dynamics import Dynamics, read_dynamics
from reports.fields import (
    Record,
    RunStoreError,
    check_schema,
    mapping,
    number,
    read_record,
    read_records,
    text,
)
from reports.harness import SIDE_FILE, harness_columns
from reports.measurements import Measurement, SpaceMeasurement, read_measurement


@dataclass(frozen=True, kw_only=True)
class Example:
    """One scored test example; `score` in [0, 1]."""

    index: int
    prompt: str
    reference: str
    generated: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run, or one stage of it, has no numbers."""

    stage: str
    message: str

    def __str__(self) -> str:
        """Return the reason as one line."""
        message = self.message or "no reason was recorded"
        return f"failed in {self.stage}: {message}" if self.stage else message


@dataclass(frozen=True, kw_only=True)
class Run:
    """A complete run: its specification, its row of results, and what stands behind the row."""

    key: str
    method: str
    task: str
    seed: int
    spec: Record
    row: Record
    environment: Record
    started: str
    finished: str
    seconds: Record
    failure: Failure | None
    history: tuple[Record, ...]
    examples: tuple[Example, ...]
    measurement: Measurement | None
    #: What was drawn for the examples, uint8 (examples, 3, side, side), where answers are pictures.
    pictures: NDArray[np.uint8] | None = None
    #: Micro-batch that was asked for and the smaller one that fitted into memory, or None where the first one did.
    reduced: tuple[int, int] | None = None
    #: What the pictures show, in a word or two, where they are not those of the examples.
    titles: tuple[str, ...] = ()
    #: How the adapters moved while they trained, where it was recorded.
    dynamics: Dynamics | None = None
    #: File name -> why it could not be used.
    faults: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def identity(self) -> bytes:
        """A digest of the test examples that the run answered: their indices, prompts and right answers, in order."""
        content = json.dumps([(example.index, example.prompt, example.reference) for example in self.examples])
        return hashlib.sha256(content.encode()).digest()

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """The scores of the examples, in order."""
        return np.array([example.score for example in self.examples], dtype=np.float64)

    def space(self, name: str) -> SpaceMeasurement | None:
        """Return what was measured in the space `name`, or None."""
        return self.measurement.spaces.get(name) if self.measurement else None

    def why_no_measurement(self) -> str:
        """Say in one line why a sharpness number is not there."""
        if self.failure is not None and self.failure.stage == "measure":
            return str(self.failure)
        return self.faults.get("measurement.json", "not measured in this run")

    def why_missing(self, name: str) -> str:
        """Say in one line why the field `name` of the row holds no finite number."""
        value = self.row.get(name)
        if value is not None:
            return f"{name} is not finite in run {self.key} ({value})"
        return str(self.failure) if self.failure else f"{name} was not recorded in run {self.key}"

    @cached_property
    def log(self) -> Mapping[str, tuple[tuple[float, float], ...]]:
        """Field of the history -> its (step, value), in the order of the file; what is no finite number is left out."""
        found: dict[str, list[tuple[float, float]]] = {}
        for record in self.history:
            step = number(record, "step")
            for name in record if step is not None else ():
                value = number(record, name)
                if value is not None:
                    found.setdefault(name, []).append((step, value))  # type: ignore[arg-type]
        return {name: tuple(points) for name, points in found.items()}

    def series(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return (steps, values) of one field of the history; records without the field are skipped."""
        points = self.log.get(name, ())
        return tuple(step for step, _ in points), tuple(value for _, value in points)


def load_run(folder: Path) -> Run:
    """Load one run folder; raises `RunStoreError` when its `run.json` cannot be used."""
    record = read_record(folder / "run.json")
    check_schema(record, "run.json")
    key = text(record, "key")
    if key != folder.name:
        raise RunStoreError(f"run.json carries key {key!r}, but its folder is called {folder.name!r}")
    row = mapping(record, "row")
    method, task, seed = text(row, "method"), text(row, "task"), number(row, "seed")
    if not method or not task or seed is None:
        raise RunStoreError("run.json has no method, task or seed in its row")
    faults: dict[str, str] = {}
    return Run(
        key=key,
        method=method,
        task=task,
        seed=int(seed),
        spec=mapping(record, "spec"),
        row={**row, **_scores(folder / SIDE_FILE, faults)},
        environment=mapping(record, "environment"),
        started=text(record, "started"),
        finished=text(record, "finished"),
        seconds=mapping(record, "seconds"),
        failure=_failure(mapping(record, "failure")),
        history=_history(folder / "history.json", faults),
        examples=_examples(folder / "examples.json", faults),
        measurement=_measurement(folder / "measurement.json", faults),
        dynamics=_dynamics(folder / "dynamics.json", faults),
        reduced=_reduced(mapping(record, "micro_batch_size")),
        pictures=_pictures(folder / "pictures.npy", faults),
        titles=_titles(folder / "drawn.json", faults),
        faults=faults,
    )


def _reduced(record: Record) -> tuple[int, int] | None:
    asked, used = number(record, "asked"), number(record, "used")
    return None if asked is None or used is None else (int(asked), int(used))


def _failure(record: Record) -> Failure | None:
    return Failure(stage=text(record, "stage"), message=text(record, "message")) if record else None


def _scores(path: Path, faults: dict[str, str]) -> Record:
    if not path.exists():
        return {}
    try:
        return harness_columns(read_record(path))
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return {}


def _history(path: Path, faults: dict[str, str]) -> tuple[Record, ...]:
    try:
        return read_records(path)
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return ()


def _examples(path: Path, faults: dict[str, str]) -> tuple[Example, ...]:
    try:
        records = read_records(path)
        return tuple(_example(record) for record in records)
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return ()


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


def _pictures(path: Path, faults: dict[str, str]) -> NDArray[np.uint8] | None:
    if not path.exists():
        return None
    try:
        # Mapped, not read: a header may claim more than any memory holds, a file cannot be larger than it is. And only
        # an array, where `np.load` would open an archive as well.
        found = np.lib.format.open_memmap(path, mode="r")
    except Exception as fault:  # NumPy reads the header with Python's own tokenizer and parser, which fail in many ways
        faults[path.name] = f"{path.name} cannot be read: {' '.join(str(fault).split())[:200]}"
        return None
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[1] != 3:
        faults[path.name] = f"{path.name} holds {found.dtype} {found.shape}, expected uint8 (examples, 3, side, side)"
        return None
    pictures: NDArray[np.uint8] = np.array(found)
    return pictures


def _titles(path: Path, faults: dict[str, str]) -> tuple[str, ...]:
    if not path.exists():
        return ()
    try:
        return tuple(text(record, "title") for record in read_records(path))
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return ()


def _dynamics(path: Path, faults: dict[str, str]) -> Dynamics | None:
    if not path.exists():
        return None
    try:
        return read_dynamics(path)
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return None


def _measurement(path: Path, faults: dict[str, str]) -> Measurement | None:
    if not path.exists():
        return None
    try:
        return read_measurement(path)
    except RunStoreError as fault:
        faults[path.name] = str(fault)
        return None
