"""Reads docstrings of Google's style: which sections they have, and what stands under each name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Note")
_ENTRY = re.compile(r"^\*{0,2}(?P<names>[\w.*]+(?:, \*{0,2}[\w.]+)*)(?: \([^)]*\))?: *(?P<text>.*)$")


@dataclass(frozen=True)
class Docstring:
    """A docstring taken apart.

    Attributes:
        summary: Everything before the first section.
        sections: Title of a section -> its text, dedented.
    """

    summary: str
    sections: Mapping[str, str] = field(default_factory=dict)

    def entries(self, section: str) -> dict[str, str]:
        """Return what a section says under each name."""
        found: dict[str, str] = {}
        current: list[str] = []
        for line in self.sections.get(section, "").splitlines():
            entry = None if line.startswith(" ") else _ENTRY.match(line)
            if entry is not None:
                current = [name.lstrip("*") for name in entry["names"].split(", ")]
                found |= dict.fromkeys(current, entry["text"])
            else:
                found |= {name: f"{found[name]} {line.strip()}".strip() for name in current}
        return found


def parse(text: str | None) -> Docstring:
    """Take a docstring apart; None has neither summary nor sections."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in inspect.cleandoc(text or "").splitlines():
        title = line.removesuffix(":")
        if line.endswith(":") and title in SECTIONS:
            current = title
            parts[current] = []
        else:
            if current and line and not line.startswith(" "):
                current = ""  # prose after a section
            parts[current].append(line)
    cleaned = {title: inspect.cleandoc("\n" + "\n".join(lines)) for title, lines in parts.items()}
    return Docstring(cleaned.pop("").strip(), cleaned)
