"""The project's own source: its files, and the definitions in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("bilora", "analysis", "benchmarks", "reports")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


@dataclass(frozen=True)
class Found:
    """A definition, and where it is.

    Attributes:
        place: File, line and dotted name, as an editor opens them.
        node: The definition.
        public: Whether neither its name nor that of anything around it begins with an underscore.
    """

    place: str
    node: Definition
    public: bool


def files(*packages: str) -> list[Path]:
    """Return the Python files of some packages, of all of them by default."""
    return [path for name in packages or PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


def definitions(path: Path) -> Iterator[Found]:
    """Yield every class and function of a file, inner ones too."""
    yield from _inside(ast.parse(path.read_text(encoding="utf-8")), path, "", public=True)


def _inside(node: ast.AST, path: Path, prefix: str, *, public: bool) -> Iterator[Found]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Definition):
            yield from _inside(child, path, prefix, public=public)
            continue
        name = f"{prefix}{child.name}"
        seen = public and not child.name.startswith("_")
        yield Found(f"{path.relative_to(ROOT)}:{child.lineno} {name}", child, seen)
        # What a function defines inside is nobody's business.
        yield from _inside(child, path, f"{name}.", public=seen and isinstance(child, ast.ClassDef))
