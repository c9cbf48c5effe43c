"""What `bilora` and `analysis` export, and what the docstring of each exported thing leaves out.

A function says what every parameter is, what it returns and which errors it raises deliberately, a tensor also in which
shape. A class says so of its constructor's parameters, a record of its fields. A method that overrides one of another
class may leave to that one what does not change. What is returned may be said in the first sentence ("Return ...").
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from transformers import Trainer

from tests.conventions.docstrings import Docstring, parse
from tests.conventions.source import PACKAGES, ROOT, Definition, Function, definitions

#: A shape in brackets, or words that lead to one.
SHAPE = re.compile(
    r"\([\w ]+(,[\w ]*)+\)|scalar|shape|vector of the|vectors of the|as many|\bblocks\b|coordinates", re.I
)
_SELF = ("self", "cls")
#: Classes that stand before another in the order of resolution, and override its methods without deriving from it.
_MIXED_INTO = {"SharpnessMixin": (Trainer,)}


def gaps(package: str) -> list[str]:
    """Return one line for everything that an exported name of a package should document and does not."""
    module = importlib.import_module(package)
    found = []
    for name in module.__all__:
        exported = getattr(module, name)
        if inspect.isclass(exported):
            found += list(_class_gaps(exported))
        elif inspect.isfunction(exported):
            found += list(gaps_of_function(name, exported))
    return found


def _class_gaps(kind: type) -> Iterator[str]:
    text = parse(kind.__doc__)
    if dataclasses.is_dataclass(kind):
        said = text.entries("Attributes") | text.entries("Args")
        for field in dataclasses.fields(kind):
            yield from _thing(f"{kind.__name__}.{field.name}", str(field.type), said.get(field.name, ""))
    elif inspect.isfunction(vars(kind).get("__init__")) and not getattr(kind, "_is_protocol", False):
        yield from gaps_of_function(f"{kind.__name__}", vars(kind)["__init__"], inherited=[text], constructor=True)
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
            bases = [base for base in (*kind.__mro__[1:], *_MIXED_INTO.get(kind.__name__, ())) if name in vars(base)]
            if all(base.__module__.partition(".")[0] in PACKAGES for base in bases):
                inherited = [parse(vars(base)[name].__doc__) for base in bases]
                yield from gaps_of_function(f"{kind.__name__}.{name}", function, inherited=inherited)


def gaps_of_function(
    name: str,
    function: Callable[..., Any],
    *,
    inherited: Sequence[Docstring] = (),
    constructor: bool = False,
) -> Iterator[str]:
    """Yield what the docstring of a function leaves out.

    Args:
        name: What it is called in the answer.
        function: The function.
        inherited: Docstrings of what it overrides, or of the class it constructs.
        constructor: Whether it is one, which returns nothing.
    """
    texts = [parse(function.__doc__), *inherited]
    said: dict[str, str] = {}
    for text in reversed(texts):
        said |= text.entries("Args")
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.name not in _SELF:
            yield from _thing(f"{name}({parameter.name})", str(parameter.annotation), said.get(parameter.name, ""))
    result = str(signature.return_annotation)
    told = [_returned(text) for text in texts]
    if not constructor and result != "None":
        yield from _thing(f"{name} ->", result, " ".join(told).strip())
    raised = set().union(*(text.entries("Raises") for text in texts))
    for error in sorted(errors_of(function) - raised):
        yield f"{name} raises {error}"


def _returned(text: Docstring) -> str:
    """Return what a docstring says of what is returned, in a section or in the first sentence."""
    sections = [text.sections[name] for name in ("Returns", "Yields") if name in text.sections]
    if not sections and re.match(r"(Returns?|Yields?|Whether|Context)\b", text.summary):
        return text.summary
    return " ".join(sections)


def _thing(name: str, kind: str, text: str) -> Iterator[str]:
    if not text:
        yield name
    elif re.search(r"\bTensor\b|\bVector\b", kind) and "Callable" not in kind and not SHAPE.search(text):
        yield f"{name} has no shape"


def errors_of(function: Callable[..., Any]) -> set[str]:
    """Return the names of errors that a function, or private helpers of its module that it calls, raises itself."""
    path = inspect.getsourcefile(function)
    if path is None or not Path(path).is_relative_to(ROOT):
        return set()
    return _errors(Path(path), function.__qualname__, frozenset())


@cache
def _nodes(path: Path) -> dict[str, Definition]:
    return {found.place.split(" ", 1)[1]: found.node for found in definitions(path)}


def _errors(path: Path, name: str, seen: frozenset[str]) -> set[str]:
    node = _nodes(path).get(name)
    if not isinstance(node, Function):
        return set()
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
            found.add(ast.unparse(part.exc.func))
        if isinstance(part, ast.Call):
            called = ast.unparse(part.func)
            owner = name.rpartition(".")[0]
            helper = f"{owner}.{called[5:]}" if called.startswith("self._") else called
            if helper.rpartition(".")[2].startswith("_") and helper not in seen:
                found |= _errors(path, helper, seen | {helper})
    return found - {"NotImplementedError", "AssertionError"}
