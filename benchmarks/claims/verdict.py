"""What a claim predicts, what was measured, and the one rule that joins them.

Every question names, before anything is run, the region in which its quantity lies if the claim is right: above 0 for a
gain, below 1 for a ratio that should be smaller, inside a margin for "makes no difference". With the 95 % interval of
the quantity the verdict is

    holds           the whole interval lies inside the region
    does not hold   the whole interval lies outside of it
    undecided here  otherwise, or where there is no interval, with the reason

An interval that touches an edge decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reports.crossed import Measured

if TYPE_CHECKING:
    from benchmarks.claims.evidence import Evidence
    from benchmarks.claims.scope import Arm

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided here"
#: Differences of this size are rounding.
_ROUNDING = 1e-12


class Missing(Exception):
    """A question cannot be answered; the text says why, in one line."""


@dataclass(frozen=True)
class Region:
    """An open interval in which a claim places a quantity."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        """Return the region in words."""
        if math.isinf(self.high):
            return f"above {self.low:g}"
        if math.isinf(self.low):
            return f"below {self.high:g}"
        return f"between {self.low:g} and {self.high:g}"


def verdict(low: float, high: float, region: Region) -> str:
    """Return the verdict on an interval."""
    if low > region.low + _ROUNDING and high < region.high - _ROUNDING:
        return HOLDS
    if high < region.low - _ROUNDING or low > region.high + _ROUNDING:
        return FAILS
    return UNDECIDED


@dataclass(frozen=True, kw_only=True)
class Question:
    """One quantity that a claim speaks about.

    Attributes:
        group: Name of the group of claims it belongs to.
        claim: The claim, as a sentence.
        source: Table or figure of the paper.
        scope: Task or tasks it is measured on.
        quantity: What is measured, in words.
        unit: Of the quantity.
        region: Where the claim places it.
        arms: What is trained for it; empty if it needs no run.
        tasks: On which tasks.
        measure: Takes the quantity from finished runs; raises `Missing` if it cannot.
        detail: Whether it is one task's part of a question about all.
        premise: Returns why the claim has nothing to say here, or None.
    """

    group: str
    claim: str
    source: str
    scope: str
    quantity: str
    unit: str
    region: Region
    arms: tuple[Arm, ...]
    tasks: tuple[str, ...]
    measure: Callable[[Evidence], Measured]
    detail: bool = False
    premise: Callable[[Evidence], str | None] = lambda evidence: None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of the board; its numbers are None where nothing could be measured, and `reason` says why it is open."""

    group: str
    claim: str
    source: str
    scope: str
    quantity: str
    unit: str
    rule: str
    measured: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str | None
    seeds: int
    runs: int
    keys: tuple[str, ...]
    device: str | None
    detail: bool

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self) | {"keys": list(self.keys)}


def answer(question: Question, evidence: Evidence) -> Answer:
    """Return the line of a question from the runs that are finished."""
    measured, reason = None, None
    devices = evidence.devices(question)
    try:
        if len(devices) > 1:
            raise Missing(f"its runs are from different devices: {', '.join(devices)}")
        measured = question.measure(evidence)
        reason = question.premise(evidence)
    except Missing as missing:
        reason = str(missing)
    keys = evidence.keys(question)
    return Answer(
        group=question.group,
        claim=question.claim,
        source=question.source,
        scope=question.scope,
        quantity=question.quantity,
        unit=question.unit,
        rule=f"holds if the whole 95 % interval lies {question.region}",
        measured=measured.value if measured else None,
        low=measured.low if measured else None,
        high=measured.high if measured else None,
        verdict=verdict(measured.low, measured.high, question.region) if measured and reason is None else UNDECIDED,
        reason=reason,
        seeds=evidence.scope.seeds if question.arms else 0,
        runs=len(keys),
        keys=keys,
        device=devices[0] if len(devices) == 1 else None,
        detail=question.detail,
    )
