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


def time_left(seconds: float, done: int, total: int) -> str:
    """Return what is left of equal pieces of work, as "about 40 s left" or "about 3 min left".

    Args:
        seconds: Time that the pieces done so far took.
        done: How many that are, at least 1.
        total: How many there are in all.
    """
    left = seconds / done * (total - done)
    return f"about {left:.0f} s left" if left < 100 else f"about {left / 60:.0f} min left"
