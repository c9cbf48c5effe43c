"""One finished run of a store as an immutable record; `reports.run_folder` reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reports.dynamics import Dynamics
from reports.fields import Record, number
from reports.measurements import Measurement, SpaceMeasurement


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
