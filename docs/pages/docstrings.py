"""Docstrings of this project as reStructuredText.

They are plain text for people who read source: single backticks around code, stars and bars as in formulas. Taken as
reStructuredText, a bar would open a substitution and a star emphasis. Both are escaped outside of backticks; single
backticks are code by the site's default role.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CODE = re.compile(r"(``.+?``|`[^`]+`|:\w+:)")
_SPECIAL = re.compile(r"([*|]|(?<=\w)_(?!\w)|\\)")


def escaped(line: str) -> str:
    """Return a line whose stars, bars, backslashes and trailing underscores mean themselves."""
    parts = _CODE.split(line)
    return "".join(part if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def setup(app: Sphinx) -> dict[str, Any]:
    """Escape docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"parallel_read_safe": True}


def _process(*event: Any) -> None:
    lines: list[str] = event[-1]
    lines[:] = [escaped(line) for line in lines]
