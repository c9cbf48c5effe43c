"""A line of words as a program reads it: the words, how they are written, what is between them and around.

The tasks whose requirements rules can verify (pocket-chat, pocket-instruct) write their references and read what a
model wrote through this one module, so that a requirement means the same in both. Words are runs of letters;
everything else is separator, or stands before the first word or after the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_WORD = re.compile(r"[^\W\d_]+")
#: How a word can be written, by the name of the way.
CASES: dict[str, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, "title": str.title}
#: What can stand between words, and what a user calls it.
SEPARATORS = {" - ": "dashes", "/": "slashes", ", ": "commas", "; ": "semicolons", " + ": "plus signs"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What stands on a line.

    Attributes:
        words: The words as they are written.
        between: What separates each from the next.
        ends: What stands before the first word and after the last; (whole line, "") where there is no word.
    """

    words: tuple[str, ...]
    between: tuple[str, ...]
    ends: tuple[str, str]

    @property
    def lower(self) -> tuple[str, ...]:
        """The words whatever their case."""
        return tuple(word.lower() for word in self.words)

    def is_written_in(self, case: str) -> bool:
        """Whether there are words and all are written in a case of `CASES`."""
        return bool(self.words) and all(word == CASES[case](word) for word in self.words)

    def is_separated_by(self, separator: str) -> bool:
        """Whether there are several words with exactly `separator` between them."""
        return bool(self.between) and set(self.between) == {separator}


def read(text: str) -> Reading:
    """Read a line; white space around it does not count."""
    line = text.strip()
    found = list(_WORD.finditer(line))
    if not found:
        return Reading(words=(), between=(), ends=(line, ""))
    return Reading(
        words=tuple(match.group() for match in found),
        between=tuple(line[a.end() : b.start()] for a, b in pairwise(found)),
        ends=(line[: found[0].start()], line[found[-1].end() :]),
    )


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a line of words is written: a case of `CASES`, what separates the words, what stands at the two ends."""

    case: str = "lower"
    separator: str = ", "
    ends: tuple[str, str] = ("", "")

    def write(self, words: Sequence[str]) -> str:
        """Return the line that these words make."""
        before, after = self.ends
        return before + self.separator.join(CASES[self.case](word) for word in words) + after
