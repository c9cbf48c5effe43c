from __future__ import annotations

import math
from typing import Any

import pytest

from reports.fields import LARGEST_NUMBER, number, quotient


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (-2.5, -2.5),
        (LARGEST_NUMBER, LARGEST_NUMBER),
        (-2 * LARGEST_NUMBER, None),
        (10**400, None),
        (math.inf, None),
        (math.nan, None),
        (True, None),
        ("1", None),
        (None, None),
    ],
)
def test_what_cannot_be_calculated_with_is_no_number(value: Any, expected: float | None) -> None:
    assert number({"x": value}, "x") == expected
    assert number({}, "x") is None


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [(1.0, 4.0, 0.25), (0.0, 4.0, 0.0), (1.0, 0.0, None), (None, 1.0, None), (1.0, None, None), (1.0, 5e-324, None)],
)
def test_a_ratio_is_a_number_or_none(above: float | None, below: float | None, expected: float | None) -> None:
    assert quotient(above, below) == expected
