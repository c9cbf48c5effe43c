"""The numbers that the Bi-LoRA paper printed (arXiv 2508.19564), read from `published.csv` or a file like it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reports.fields import RunStoreError

PUBLISHED = Path(__file__).with_name("published.csv")
_COLUMNS = ("table", "model", "task", "metric", "method", "value", "se", "unit")
_LARGEST_FILE = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """One number of the paper, on the scale it is printed in (`unit`), with its standard error if it has one."""

    table: str
    model: str
    task: str
    metric: str
    method: str
    value: float
    standard_error: float | None
    unit: str


@cache
def published_numbers() -> tuple[PublishedNumber, ...]:
    """Return every number of `published.csv`, in its order."""
    return read_numbers(PUBLISHED)


def read_numbers(path: Path) -> tuple[PublishedNumber, ...]:
    """Return every number of a file like `published.csv`, in its order.

    Raises:
        RunStoreError: If it cannot be read, lacks a column, or holds something else where a number belongs.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise RunStoreError(f"{path.name} has more than {_LARGEST_FILE} bytes")
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(
                _number_of(row, place) for place, row in enumerate(csv.DictReader(stream, strict=True), start=2)
            )
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise RunStoreError(f"{path.name} cannot be read: {fault}") from None


def _number_of(row: Mapping[str, str | None], line: int) -> PublishedNumber:
    missing = [name for name in _COLUMNS if row.get(name) is None]
    if missing:
        raise RunStoreError(f"row {line} has no {missing[0]}; expected the columns {', '.join(_COLUMNS)}")
    fields = {name: str(row[name]) for name in _COLUMNS}
    value, error = (_finite(fields[name], name, line) for name in ("value", "se"))
    if value is None:
        raise RunStoreError(f"row {line} has no value; expected a number")
    return PublishedNumber(
        table=fields["table"],
        model=fields["model"],
        task=fields["task"],
        metric=fields["metric"],
        method=fields["method"],
        value=value,
        standard_error=error,
        # MT-Bench marks answers from 1 to 10.
        unit="of 10" if fields["task"] == "mt-bench" else fields["unit"],
    )


def _finite(text: str, name: str, line: int) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise RunStoreError(f"row {line} has {name} {text[:40]!r}; expected a number")
    return found
