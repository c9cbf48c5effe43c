"""The examples as pages: scripts in the percent format of notebooks, cell by cell.

The scripts are run in the tests, and Jupyter (with jupytext), VS Code and others open them as notebooks.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples"
_CELL = re.compile(r"^# %%(?: \[(\w+)\])?$")


def cells(text: str) -> list[tuple[str, str]]:
    """Return kind (`markdown` or `code`) and content of every cell.

    Raises:
        ValueError: If the script does not begin with a cell, or a line of text is no comment.
    """
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        mark = _CELL.match(line)
        if mark is not None:
            found.append((mark[1] or "code", []))
        elif not found:
            raise ValueError(f"expected '# %%' before {line!r}")
        elif found[-1][0] == "markdown" and line:
            if not line.startswith("#"):
                raise ValueError(f"a cell of text holds {line!r}; expected a comment")
            found[-1][1].append(line.removeprefix("#").removeprefix(" "))
        else:
            found[-1][1].append(line)
    return [(kind, "\n".join(lines).strip("\n")) for kind, lines in found]


def page(script: Path) -> str:
    """Return the page of a script."""
    parts = [
        content if kind == "markdown" else f"```python\n{content}\n```"
        for kind, content in cells(script.read_text(encoding="utf-8"))
    ]
    return "\n\n".join([*parts, f"`python examples/{script.name}` runs this page."]) + "\n"


def write_pages(folder: Path) -> None:
    """Write a page for every example, and the one that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = sorted(FOLDER.glob("*.py"))
    for script in scripts:
        (folder / f"{script.stem}.md").write_text(page(script), encoding="utf-8")
    lines = ["# Examples", "", "```{toctree}", ":maxdepth: 1", "", *(script.stem for script in scripts), "```"]
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
