"""The one error a user of the command lines sees: what was found, what was expected, which flag to change."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Of a value in a message.
_LONGEST = 200


class UsageError(ValueError):
    """Something the user gave cannot be used; the text is one line and complete."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the nearest known name, or nothing when none is near."""
    matches = get_close_matches(name[:_LONGEST], list(known), n=1, cutoff=0.4)
    return f", did you mean {matches[0]!r}?" if matches else ""


def one_line(error: BaseException, *, most: int | None = None) -> str:
    """Return all that an error says in one line, `most` characters of it; its class where it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:most]


def first_line(error: BaseException) -> str:
    """Return the first line in which an error says something, or its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def shortened(value: object) -> str:
    """Return a value as Python writes it, for a message of one line: what is long is cut."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
