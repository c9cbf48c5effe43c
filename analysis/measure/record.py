"""measure.json: what was measured, written after every part, so that a command that stops loses the part in progress.

A part is one metric in one space. The same command finds the parts that are there and does the others; a folder that
was written with other settings is refused, never mixed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from analysis.errors import SettingsError

SCHEMA = 1


class MeasureRecord:
    """The growing record of one measurement.

    Args:
        folder: Output folder; made if it is missing.
        head: What identifies the measurement: settings, model, data. A record with another head is refused.

    Raises:
        SettingsError: The folder holds another measurement, or cannot be written.
    """

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.path = folder / "measure.json"
        head = json.loads(json.dumps(head))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = json.loads(self.path.read_text()) if self.path.is_file() else None
        except (OSError, json.JSONDecodeError) as error:
            raise SettingsError(f"--out: {folder} cannot be used: {' '.join(str(error).split())}") from None
        if found is None:
            self.content: dict[str, Any] = {"schema": SCHEMA, **head, "spaces": {}, "problems": {}}
            self.write()
            return
        changed = [key for key in head if found.get(key) != head[key]]
        if changed:
            inner = _first_difference(found.get(changed[0]), head[changed[0]], changed[0])
            raise SettingsError(f"--out: {folder} holds another measurement ({inner}); choose another folder")
        self.content = found

    def has(self, space: str, part: str) -> bool:
        """Whether a part is measured."""
        return part in self.content["spaces"].get(space, {})

    def add(self, space: str, part: str, values: dict[str, Any]) -> None:
        """Add what a part found, and write everything: `values` become entries of the space, `part` among them."""
        self.content["spaces"].setdefault(space, {}).update(values)
        self.content["problems"].get(space, {}).pop(part, None)
        self.write()

    def fail(self, space: str, part: str, message: str) -> None:
        """Note that a part could not be measured, and why; the next call tries again."""
        self.content["problems"].setdefault(space, {})[part] = message
        self.write()

    def write(self) -> None:
        """Write the record under another name and rename it, so that no half of it is ever read."""
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self.content, indent=1, allow_nan=False) + "\n")
        temporary.replace(self.path)


def _first_difference(found: Any, asked: Any, name: str) -> str:
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in asked:
            if found.get(key) != asked[key]:
                return _first_difference(found.get(key), asked[key], f"{name}.{key}")
    return f"{name} was {found!r}, now {asked!r}"
