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
class Loss:
    """What the loss of a task is: its unit, what it is a mean of, and both as an axis says it."""

    unit: str
    mean: str
    axis: str


#: Losses by the kind that a run's row names; runs that were stored before there were kinds have the first.
LOSSES = {
    "token": Loss(unit="nats", mean="Mean loss per completion token", axis="nats per token"),
    "example": Loss(unit="nats", mean="Mean cross-entropy per example", axis="nats per example"),
    "denoising": Loss(
        unit="v²", mean="Mean squared error of the predicted velocity, a denoising loss", axis="mean squared error"
    ),
    "noise": Loss(
        unit="e²", mean="Mean squared error of the predicted noise, a denoising loss", axis="mean squared error"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Name of a metric, and what full marks are written as: 100 is per cent, 10 a rubric of ten points.

    Attributes:
        name: As its field names it.
        full_marks: What a score of one is written as.
        parts: Names of what a score is made of, each with a score of its own in a run's row.
        loss: What is minimised.
    """

    name: str = "score"
    full_marks: int = 100
    parts: tuple[str, ...] = ()
    loss: Loss = LOSSES["token"]

    @property
    def part_fields(self) -> tuple[str, ...]:
        """The fields of a run's row that hold the parts of its score."""
        return tuple(f"{part}_score" for part in self.parts)

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
    return Metric(
        name=text(row, "metric") or "score",
        full_marks=int(number(row, "full_marks") or 100),
        parts=tuple(text(row, "score_parts").split()),
        loss=LOSSES.get(text(row, "loss_kind"), LOSSES["token"]),
    )
