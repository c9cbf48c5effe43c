"""Builds the values that a program in the sandbox returned from their text: numbers, strings and containers alone.

The text comes from code that nobody vouches for, so that it is parsed and never evaluated.
"""

from __future__ import annotations

import ast
from typing import Any

_NUMBERS = {"nan": float("nan"), "inf": float("inf")}
_CONTAINERS = {"list": list, "tuple": tuple, "set": set, "dict": dict}


def value_of(text: str) -> Any:
    """Return the value that a text writes out.

    Raises:
        ValueError: If it is anything but plain values in lists, tuples, sets and dictionaries.
        SyntaxError: If it is no expression.
        TypeError: If a set holds what cannot be hashed.
    """
    return _built(ast.parse(text, mode="eval").body)


def _built(node: ast.expr) -> Any:
    """Return the value of a literal, or of a container written as `list([...])`."""
    if isinstance(node, ast.Call):
        kind, arguments = node.func, [*node.args, *node.keywords]
        if not (isinstance(kind, ast.Name) and kind.id in _CONTAINERS and len(arguments) == 1):
            raise ValueError("not a plain value")
        (items,) = arguments
        if not isinstance(items, ast.List):
            raise ValueError("not a plain value")
        return _CONTAINERS[kind.id]([_built(item) for item in items.elts])
    sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
    name = node.operand if isinstance(node, ast.UnaryOp) else node
    if not isinstance(name, ast.Name):
        return ast.literal_eval(node)
    if name.id not in _NUMBERS:
        raise ValueError("not a plain value")
    return sign * _NUMBERS[name.id]
