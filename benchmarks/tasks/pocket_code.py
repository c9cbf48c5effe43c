"""`pocket-code`: small Python functions from a description, for the base `pocket-llama`; pass@1 by hidden tests.

The base has met functions of one operation each, in other words. Here two operations follow one another and often a
third, described in a docstring, and some words mean operations that the base has never written (odd ones, squares, the
last one dropped). A completion is right if the function returns what the description's own function returns, on lists
that are not shown; it need not be written alike. What the model writes is run in the sandbox alone, and where there is
none the task refuses to run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, ClassVar

from benchmarks.errors import UsageError
from benchmarks.sandbox import SandboxError, check_isolation, run_calls
from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.drawn import DrawnTask

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 256}
NAMES = ("f", "g", "solve", "run", "change", "compute", "make")
VARIABLES = ("xs", "values", "items")
#: Lists on which a function is tried.
HIDDEN_TESTS = 5

# Each with the expression it stands for; {v} is a list.
FIRST = (
    ("Keep the even ones of {v}", "[x for x in {v} if x % 2 == 0]"),
    ("Keep the odd ones of {v}", "[x for x in {v} if x % 2 == 1]"),
    ("Keep those of {v} over {n}", "[x for x in {v} if x > {n}]"),
    ("Keep those of {v} under {k}", "[x for x in {v} if x < {k}]"),
    ("Drop the first {n} of {v}", "{v}[{n}:]"),
    ("Drop the last of {v}", "{v}[:-1]"),
    ("Raise each of {v} by {n}", "[x + {n} for x in {v}]"),
    ("Scale each of {v} by {n}", "[x * {n} for x in {v}]"),
    ("Square each of {v}", "[x * x for x in {v}]"),
    ("Sort {v}", "sorted({v})"),
    ("Flip {v}", "{v}[::-1]"),
    ("Take the first {k} of {v}", "{v}[:{k}]"),
)
SECOND = (
    ("add them up", "sum({e})"),
    ("count them", "len({e})"),
    ("give the largest", "max({e})"),
    ("give the smallest", "min({e})"),
    ("give the last", "{e}[-1]"),
    ("give the first", "{e}[0]"),
)
THIRD = (
    ("", "{r}"),
    (" and add {m}", "{r} + {m}"),
    (" and take away {m}", "{r} - {m}"),
    (" and multiply by {m}", "{r} * {m}"),
    (" and make it a string", "str({r})"),
)

_FUNCTION = re.compile(r"def (\w+)\(")


def generate(rng: Random) -> Example:
    """Draw one function."""
    (first, inner), (second, outer), (third, last) = rng.choice(FIRST), rng.choice(SECOND), rng.choice(THIRD)
    variable = rng.choice(VARIABLES)
    slots = {"v": variable, "n": rng.randrange(2, 6), "k": rng.randrange(6, 10), "m": rng.randrange(2, 10)}
    expression = last.format(r=outer.format(e=inner.format(**slots)), **slots)
    description = f"{first}, then {second}{third}.".format(**slots)
    return Example(
        prompt=f'def {rng.choice(NAMES)}({variable}):\n    """{description}"""',
        completion=f"\n    return {expression}",
    )


def hidden_lists(example: Example) -> list[list[int]]:
    """Return the lists on which an example's function is tried, the same on every machine; it accepts all of them."""
    rng = Random(f"hidden/{example.prompt}")
    accepted: list[list[int]] = []
    while len(accepted) < HIDDEN_TESTS:
        values = [rng.randrange(1, 20) for _ in range(rng.randrange(3, 11))]
        try:
            expected(example, values)
        except (ValueError, IndexError):
            continue  # the largest of no numbers
        accepted.append(values)
    return accepted


def expected(example: Example, values: list[int]) -> Any:
    """Return what an example's own function makes of a list."""
    expression = example.completion.split("return ", 1)[1]
    variable = example.prompt.split("(", 1)[1].split(")", 1)[0]
    # The expression is put together from the tables above; no outside text can reach this call.
    return eval(expression, {variable: values})


def function_name(source: str) -> str:
    """Return the name of the first function of a program."""
    found = _FUNCTION.match(source)
    assert found is not None
    return found.group(1)


class PocketCode(DrawnTask):
    """Functions from their descriptions; scored by whether the first one written passes hidden tests."""

    name: ClassVar[str] = "pocket-code"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "pass@1"
    sizes: ClassVar[dict[Split, int]] = SIZES
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=16, learning_rate=1e-3, max_new_tokens=40)

    def check(self) -> None:
        """See `Task.check`: programs must be isolated."""
        try:
            check_isolation()
        except SandboxError as error:
            raise UsageError(f"--tasks: {self.name} runs what models write: {error}") from None

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[str]:
        """Names do not make a problem: one description is in one split only."""
        return {re.sub("|".join(VARIABLES), "", example.prompt.split("\n", 1)[1])}

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if the function that prompt and generated text make returns what it should on all hidden lists."""
        if generated.rstrip() == example.completion:
            return 1.0  # word for word what the expected values come from
        source = example.prompt + generated
        lists = hidden_lists(example)
        outcome = run_calls(source + "\n", function_name(source), [[values] for values in lists])
        if outcome.values is None:
            return 0.0
        wanted = [expected(example, values) for values in lists]
        return float(all(type(a) is type(b) and a == b for a, b in zip(outcome.values, wanted, strict=True)))

    def scores(self, examples: Sequence[Example], generated: Sequence[str]) -> list[float]:
        """See `Task.scores`; one program for each core at a time."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(self.score, examples, generated))
