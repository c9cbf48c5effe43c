"""An independent reading of worked answers: integer arithmetic on what is written, nothing from the generators."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

_EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


def parts(equation: str) -> tuple[int, str, int, int]:
    """Split `12+5=17` into its numbers and operator; fails on any other form."""
    match = _EQUATION.fullmatch(equation)
    assert match, equation
    return int(match[1]), match[2], int(match[3]), int(match[4])


def is_true(equation: str) -> bool:
    left, operator, right, result = parts(equation)
    exact = {
        "+": lambda: Fraction(left + right),
        "-": lambda: Fraction(left - right),
        "*": lambda: Fraction(left * right),
        "/": lambda: Fraction(left, right),
    }[operator]()
    return exact == result


def check_chain(equations: list[str]) -> int:
    """Check that all hold and that each uses the result before it; returns the last result."""
    for equation in equations:
        assert is_true(equation), equation
    for before, after in pairwise(equations):
        left, _, right, _ = parts(after)
        assert parts(before)[3] in (left, right), equations
    return parts(equations[-1])[3]
