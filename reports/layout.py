"""Tables as they are printed: columns with units, cells with text, grouped rows.

Page and Markdown both print these cells, so they cannot disagree. A cell without a value is a hole, which carries
its reason instead of a text; a cell's `detail` is the smaller second line (standard error, interval, residual).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.quantities import significant, spoken
from reports.statistics import Estimate

Writer = Callable[[float], str]

HOLE = "\N{EM DASH}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column head: name, unit (may be empty) and one sentence that defines the quantity."""

    title: str
    unit: str
    definition: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entry: `text` with a smaller `detail`, or a hole with the `reason` why it is empty.

    Attributes:
        numbers: (name, value) of what the text shows, in full precision; `value` first. Scores, their averages and
            differences are shares of full marks, all else (aggregates too) is in the unit of the column.
        mark: `best`, `tied` (not distinguishable from the best) or nothing.
    """

    text: str
    detail: str = ""
    reason: str = ""
    numbers: tuple[tuple[str, float], ...] = ()
    mark: str = ""

    @property
    def value(self) -> float | None:
        """The number that the entry is sorted by, or None for a hole or words."""
        return dict(self.numbers).get("value")

    @property
    def line(self) -> str:
        """The entry on one line."""
        return f"{self.text} ({self.detail})" if self.detail else self.text


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row: the method it is about, and a cell for each column after the first."""

    method: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows under a shared heading; an empty title means that the table is one group."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A printed table; the first column, called `head`, has no entry in `columns`.

    Attributes:
        notes: Sentences below the table: what marks mean, what was not compared.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    head: str = "Method"
    notes: tuple[str, ...] = ()


def hole(reason: str) -> Cell:
    """Return the cell of a value that is not there."""
    return Cell(text=HOLE, reason=reason)


def estimate_cell(found: Estimate, write: Writer, *, one: str = "", score: bool = False) -> Cell:
    """Return the cell of an estimate over seeds.

    Args:
        found: The estimate.
        write: Writes its mean and its standard error.
        one: The detail of a single run; several then say how many they are.
        score: State an error of zero too, since a score without one reads as that of a single run.
    """
    numbers: tuple[tuple[str, float], ...] = (("value", found.mean),)
    if found.standard_error is None:
        return Cell(text=write(found.mean), detail=one, numbers=numbers)
    numbers += (("standard_error", found.standard_error), ("seeds", float(found.count)))
    # A count that is equal in all seeds has no spread to speak of, only rounding.
    if not one and not score and found.standard_error <= 1e-9 * abs(found.mean):
        return Cell(text=write(found.mean), numbers=numbers)
    error = significant(found.standard_error, 2) if write is significant else write(found.standard_error)
    detail = f"± {error}" + (f", {spoken(found.count, 'seed')}" if one else "")
    return Cell(text=write(found.mean), detail=detail, numbers=numbers)


def difference_cell(difference: float, low: float, high: float, write: Writer) -> Cell:
    """Return the cell of a difference with its interval."""
    return Cell(
        text=write(difference),
        detail=f"{write(low)} to {write(high)}",
        numbers=(("value", difference), ("low", low), ("high", high)),
    )
