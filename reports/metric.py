"""The metric of a task as it is written: under its own name and on its own scale.

Stored scores are shares of full marks whatever the task, so that statistics, CSV files and comparisons between tasks
need to know no scale. Only where a number is printed or drawn does 0.63 become 63.0 % or 6.30 of 10; the digits are
chosen so that both resolve a thousandth of full marks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reports.fields import Record, number, text
from reports.quantities import MINUS
from reports.set_scores import OF_A_SET

#: Decimals in which full marks are divided.
_RESOLUTION = 3


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Name of a metric, and what full marks are written as: 100 is per cent, 10 a rubric of ten points."""

    name: str = "score"
    full_marks: int = 100

    @property
    def title(self) -> str:
        """The name as the head of a column."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def unit(self) -> str:
        """What stands beside a score: `%`, `x 100` where it is no share of anything, or `of 10`."""
        if self.name in OF_A_SET:
            return f"x {self.full_marks}"
        return "%" if self.full_marks == 100 else f"of {self.full_marks}"

    @property
    def points(self) -> str:
        """What differences between scores are counted in."""
        if self.name in OF_A_SET:
            return "points"
        return "percentage points" if self.full_marks == 100 else f"points of {self.full_marks}"

    def scaled(self, fraction: float) -> float:
        """Return a share of full marks as a number on the metric's scale."""
        return self.full_marks * fraction

    def mark(self, fraction: float) -> str:
        """Write a score, or its standard error, without its unit."""
        return f"{self.scaled(fraction):.{self._decimals}f}".replace("-", MINUS)

    def full_mark(self, fraction: float) -> str:
        """Write a score with its unit."""
        return f"{self.mark(fraction)} {self.unit}"

    def difference(self, fraction: float) -> str:
        """Write a difference of scores with its sign.

        As many decimals as a score has, or as many as it takes to tell the value from zero: a bound just above zero
        must not read 0.0.
        """
        value = self.scaled(fraction)
        if abs(value) < 1e-9:
            return f"{0:.{self._decimals}f}"
        told_apart = abs(value) >= 0.5 * 10**-self._decimals
        decimals = self._decimals if told_apart else -math.floor(math.log10(abs(value)))
        return f"{value:+.{decimals}f}".replace("-", MINUS)

    @property
    def _decimals(self) -> int:
        return max(0, _RESOLUTION + 1 - len(str(self.full_marks)))


def read_metric(row: Record) -> Metric:
    """Return the metric that a run's row names; runs that were stored before scales were have per cent."""
    return Metric(name=text(row, "metric") or "score", full_marks=int(number(row, "full_marks") or 100))
