"""Numbers as text."""

from __future__ import annotations

import math

import pytest

from reports import quantities


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (14.234, "14.2"),
        (0.09, "0.0900"),
        (-1.562, "−1.56"),
        (0.000568, "5.68×10⁻⁴"),
        (-0.000568, "−5.68×10⁻⁴"),
        (1234.5, "1,230"),
        (99_960.0, "1.00×10⁵"),
        (9.996, "10.0"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert quantities.significant(value) == text


@pytest.mark.parametrize("value", [3.14159, 2.5e-7, 6.02e23, 0.0101, 512.0, 0.00099951])
def test_significant_keeps_three_digits(value: float) -> None:
    text = quantities.significant(value).translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
    assert float(text.replace("×10", "e").replace(",", "")) == pytest.approx(value, rel=5.1e-3)


def test_plain_quantities() -> None:
    assert quantities.setting(0.05) == "0.05"
    assert quantities.whole(1_228_800) == "1,228,800"
    assert quantities.gibibytes(1.5 * 2**30) == "1.50"
    assert quantities.ratio(1.974) == "1.97×"
    assert quantities.spoken(1, "seed") == "one seed"
    assert quantities.spoken(3, "seed") == "three seeds"
    assert quantities.spoken(12, "seed") == "12 seeds"


def test_moment_is_read_or_left_alone() -> None:
    assert quantities.moment("2026-11-04T09:05:59+00:00") == "4 November 2026, 09:05 UTC"
    assert quantities.moment("2026-11-04T09:05:59") == "4 November 2026, 09:05"
    assert quantities.moment("last week") == "last week"
