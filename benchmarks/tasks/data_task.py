"""Tasks whose examples are read from a published data set or from files of the same columns.

A run's key holds the hash of the examples, so that other data under the same name make other runs. Examples are read
once in a process. The recipe is the paper's; its steps follow from its epochs and the number of examples.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.errors import UsageError
from benchmarks.tasks.base import SPLITS, Example, Split, Task
from benchmarks.tasks.held_out import split_by_hash
from benchmarks.tasks.sources import Row, Source, read_split


class DataTask(Task):
    """A task on data from elsewhere.

    Args:
        data: Folder or file of local data; None reads the hub.
    """

    #: No model ships for it.
    base: ClassVar[str] = ""
    #: A model that the paper trained it with.
    suggestion: ClassVar[str] = "meta-llama/Llama-2-7b-hf"
    source: ClassVar[Source]
    #: The flag that names local data, for messages.
    flag: ClassVar[str] = "--data"

    def __init__(self, data: Path | None = None) -> None:
        self.data = None if data is None else data.absolute()

    @property
    def edition(self) -> str:
        """See `Task.edition`."""
        return f"{self.version}-{_fingerprint(type(self), self.data)}"

    def steps(self, batch_size: int) -> int:
        """See `Task.steps`: whole epochs."""
        return math.ceil(self.recipe.epochs * len(self.examples("train")) / batch_size)

    def examples(self, split: Split) -> tuple[Example, ...]:
        """See `Task.examples`.

        Raises:
            UsageError: If the data cannot be had.
        """
        return _splits(type(self), self.data)[split]

    def published_rows(self) -> int:
        """Return the number of rows that training and held-out rows are taken from, which papers count epochs in."""
        return _published_rows(type(self), self.data)

    def check(self) -> None:
        """See `Task.check`: reads the data."""
        for split in SPLITS:
            if not self.examples(split):
                raise UsageError(
                    f"{self.flag}: {self.name} has no {split} example left; expected at least 3 different rows"
                )

    def read(self) -> dict[Split, list[Row]]:
        """Return the rows of every split: the source's own test split if it has two, otherwise one held out by hash."""
        rows = {split: read_split(self.name, self.source, split, self.data) for split in self.source.splits}
        first, *others = rows.values()
        return held_out(self, first, others)

    def recognised_by(self, row: Row) -> str:
        """Return what decides where a row is held out: all but its answer, the last column."""
        return "\n".join(str(row[column]) for column in self.source.columns[:-1])

    @abstractmethod
    def example(self, row: Row) -> Example:
        """Return the example of a row."""

    def text(self, row: Row, column: str) -> str:
        """Return a column that must be a text.

        Raises:
            UsageError: If it is something else.
        """
        value = row[column]
        if not isinstance(value, str):
            raise UsageError(
                f"--data: {self.name}: column {column!r} holds {shown(value)} ({type(value).__name__}); expected text"
            )
        return value


def held_out(task: DataTask, rows: Sequence[Row], others: Sequence[Sequence[Row]]) -> dict[Split, list[Row]]:
    """Return the splits of rows, of which some are held out: validation, and test if there are no other rows for it."""
    apart: tuple[Split, ...] = ("validation",) if others else ("validation", "test")
    places = split_by_hash([task.recognised_by(row) for row in rows], apart)
    found = {split: [rows[place] for place in chosen] for split, chosen in places.items()}
    return found | ({"test": list(others[0])} if others else {})


def shown(value: Any) -> str:
    """Return a value in a few words, for a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@lru_cache(maxsize=16)
def _splits(kind: type[DataTask], data: Path | None) -> dict[Split, tuple[Example, ...]]:
    task = kind(data)
    try:
        return {split: tuple(task.example(row) for row in rows) for split, rows in task.read().items()}
    except UsageError as error:
        # What reads files does not know how they were named.
        raise UsageError(re.sub("^--data:", f"{kind.flag}:", str(error))) from None


@lru_cache(maxsize=16)
def _published_rows(kind: type[DataTask], data: Path | None) -> int:
    return len(read_split(kind.name, kind.source, kind.source.splits[0], data))


@lru_cache(maxsize=16)
def _fingerprint(kind: type[DataTask], data: Path | None) -> str:
    return kind(data).fingerprint()
