"""Every public module, class, function and method says what it is."""

from __future__ import annotations

import ast

import pytest

from tests.conventions.source import PACKAGES, ROOT, definitions, files


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_docstring(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files(package)
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_definition_has_a_docstring(package: str) -> None:
    silent = [
        found.place
        for path in files(package)
        for found in definitions(path)
        if found.public and ast.get_docstring(found.node) is None and not _is_setter(found.node)
    ]
    assert silent == []


def _is_setter(node: ast.AST) -> bool:
    """Whether it sets a property, which is documented where it is read."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(each, ast.Attribute) and each.attr == "setter" for each in decorators)
