"""Telling a caller how far a long measurement has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the fraction done, from 0 to 1, and a note on where things stand."""


def silent(fraction: float, note: str) -> None:
    """Report nothing."""


def within(outer: Progress, start: float, stop: float, *, label: str) -> Progress:
    """Return a report for a part of the work that takes the outer fraction from `start` to `stop`.

    Args:
        outer: Where to report.
        start: Outer fraction at which the part begins.
        stop: Outer fraction at which it ends.
        label: Put before every note of the part.
    """

    def inner(fraction: float, note: str) -> None:
        outer(start + (stop - start) * fraction, f"{label}: {note}")

    return inner
