"""Files hold one idea and functions fit on a screen. A function's docstring does not count: its code does."""

from __future__ import annotations

import ast

import pytest

from tests.conventions.source import PACKAGES, ROOT, Function, definitions, files

LINES_OF_A_FILE = 250
LINES_OF_A_FUNCTION = 60


def code_lines(function: Function) -> int:
    """Return the lines of a function from `def` to its end, its docstring left out."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_short(package: str) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files(package)}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_A_FILE} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    lengths = {
        found.place: code_lines(found.node)
        for path in files(package)
        for found in definitions(path)
        if isinstance(found.node, Function)
    }
    assert lengths
    assert {place: lines for place, lines in lengths.items() if lines > LINES_OF_A_FUNCTION} == {}


def test_docstrings_do_not_count() -> None:
    (function,) = ast.parse('def f():\n    """A.\n\n    B.\n    """\n    a = 1\n    return a\n').body
    assert isinstance(function, ast.FunctionDef)
    assert code_lines(function) == 3
