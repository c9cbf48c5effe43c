"""Function curriculum: small Python functions from a description, and what a call of them returns.

Two forms are judged. Writing: the description is the docstring, the completion the body. Calling: the description
is a comment, the code and a first call with its result are given, the completion is what a second call returns.
Results come from running the generated body itself; the bodies are expressions over whole numbers, lists and
strings written in this file.
"""

from __future__ import annotations

from random import Random
from typing import Any

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import ANIMALS, COLOURS, FRUITS

_ON_NUMBER = (
    ("Return {v} plus {n}.", "{v} + {n}"),
    ("Return {v} minus {n}.", "{v} - {n}"),
    ("Return {v} times {n}.", "{v} * {n}"),
    ("Return {n} minus {v}.", "{n} - {v}"),
    ("Return {v} modulo {n}.", "{v} % {n}"),
    ("Return the square of {v}.", "{v} * {v}"),
    ("Return {v} times {n} plus {m}.", "{v} * {n} + {m}"),
    ("Return the larger of {v} and {n}.", "max({v}, {n})"),
    ("Return the smaller of {v} and {n}.", "min({v}, {n})"),
    ("Return whether {v} is even.", "{v} % 2 == 0"),
    ("Return whether {v} is above {n}.", "{v} > {n}"),
    ("Return the numbers from zero to {v}.", "list(range({v} + 1))"),
    ("Return {v} as a string.", "str({v})"),
)
_ON_LIST = (
    ("Return the sum of {v}.", "sum({v})"),
    ("Return the length of {v}.", "len({v})"),
    ("Return the largest of {v}.", "max({v})"),
    ("Return the smallest of {v}.", "min({v})"),
    ("Return {v} reversed.", "{v}[::-1]"),
    ("Return {v} sorted.", "sorted({v})"),
    ("Return the last of {v}.", "{v}[-1]"),
    ("Return the first {n} of {v}.", "{v}[:{n}]"),
    ("Return {v} without the first {n}.", "{v}[{n}:]"),
    ("Return each of {v} plus {n}.", "[x + {n} for x in {v}]"),
    ("Return each of {v} times {n}.", "[x * {n} for x in {v}]"),
    ("Return those of {v} above {n}.", "[x for x in {v} if x > {n}]"),
    ("Return the even ones of {v}.", "[x for x in {v} if x % 2 == 0]"),
    ("Return how many of {v} are above {n}.", "sum(1 for x in {v} if x > {n})"),
)
_ON_STRING = (
    ("Return {v} in upper case.", "{v}.upper()"),
    ("Return {v} reversed.", "{v}[::-1]"),
    ("Return the first letter of {v}.", "{v}[0]"),
    ("Return the length of {v}.", "len({v})"),
    ("Return {v} repeated {n} times.", "{v} * {n}"),
    ("Return the first {n} letters of {v}.", "{v}[:{n}]"),
    ("Return {v} with an s at the end.", "{v} + 's'"),
    ("Return the letters of {v} in order.", "sorted({v})"),
)
_NAMES = ("f", "g", "solve", "run", "change", "compute", "make")


def _argument(rng: Random, kind: str) -> Any:
    if kind == "number":
        return rng.randrange(2, 13)
    if kind == "list":
        return [rng.randrange(1, 20) for _ in range(rng.randrange(2, 6))]
    return rng.choice(rng.choice((ANIMALS, COLOURS, FRUITS)))


def generate(rng: Random) -> Item:
    """Draw one function; the completion is its body, or the result of its last call."""
    kind, table, variables = rng.choice(
        (("number", _ON_NUMBER, "xnak"), ("list", _ON_LIST, ("xs", "values", "items")), ("string", _ON_STRING, "sw"))
    )
    description, expression = rng.choice(table)
    variable: str = rng.choice(variables)
    slots = {"v": variable, "n": rng.randrange(2, 6), "m": rng.randrange(1, 10)}
    body, name, task = expression.format(**slots), rng.choice(_NAMES), description.format(**slots)
    head = f"def {name}({variable}):"
    if rng.random() < 0.3:
        return Item(f'{head}\n    """{task}"""', f"\n    return {body}")
    calls = []
    for _ in range(2):
        argument = _argument(rng, kind)
        # The expression comes from the tables above; no outside text can reach this call.
        calls.append((f"{name}({argument!r}) ==", f" {eval(body, {variable: argument})!r}"))
    shown, asked = calls
    return Item(f"# {task}\n{head}\n    return {body}\n\n{''.join(shown)}\n{asked[0]}", asked[1])
