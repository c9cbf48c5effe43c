"""A kind of input that somebody else may have written, with good examples and with what must answer it.

A target writes one damaged input and hands it to the code that a command would use. It returns "accepted" or "refused";
whatever else it raises is a finding. Refusals have to be one line that is complete.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path

ACCEPTED, REFUSED = "accepted", "refused"


class Unanswered(AssertionError):
    """An input was answered in a way that is none: no line, several lines, or text of the input that is not escaped."""


class Target(ABC):
    """A kind of input.

    Args:
        folder: A folder for good examples; inputs are made in another one.
        outside: A folder beside, that links lead to and that nothing may touch.
    """

    name: str
    #: Share of all inputs, and seconds that one may take.
    share: float
    seconds: float = 60.0

    def __init__(self, folder: Path, outside: Path) -> None:
        self.folder = folder
        self.outside = outside

    @abstractmethod
    def answer(self, place: Path, draw: random.Random) -> str:
        """Make an input in an empty folder and have it answered."""


def refusal(error: Exception) -> str:
    """Return "refused" if an error says what is wrong in one line.

    Raises:
        Unanswered: If it does not.
    """
    text = str(error)
    if not text or "\n" in text or len(text) > 3000:
        raise Unanswered(f"a refusal of {len(text)} characters, {text.count(chr(10))} line ends: {text[:200]!r}")
    return REFUSED
