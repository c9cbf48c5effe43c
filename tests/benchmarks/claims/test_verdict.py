from __future__ import annotations

import math

import pytest

from benchmarks.claims.verdict import FAILS, HOLDS, UNDECIDED, Region, verdict

GAIN, SMALLER, SAME = Region(low=0.0), Region(high=1.0), Region(low=-1.4, high=1.4)


@pytest.mark.parametrize(
    ("low", "high", "region", "expected"),
    [
        (0.1, 2.0, GAIN, HOLDS),
        (-2.0, -0.1, GAIN, FAILS),
        (-0.1, 2.0, GAIN, UNDECIDED),
        (0.0, 0.0, GAIN, UNDECIDED),  # nothing moved, as where every score is zero
        (0.5, 0.9, SMALLER, HOLDS),
        (1.1, 1.3, SMALLER, FAILS),
        (0.9, 1.3, SMALLER, UNDECIDED),
        (-1.0, 1.0, SAME, HOLDS),
        (1.5, 3.0, SAME, FAILS),
        (-3.0, -1.5, SAME, FAILS),
        (-1.0, 1.5, SAME, UNDECIDED),
        (-2.0, 2.0, SAME, UNDECIDED),
        (-math.inf, math.inf, GAIN, UNDECIDED),
    ],
)
def test_an_interval_decides_when_all_of_it_is_on_one_side(
    low: float, high: float, region: Region, expected: str
) -> None:
    assert verdict(low, high, region) == expected


def test_a_region_is_said_in_words() -> None:
    assert [str(region) for region in (GAIN, SMALLER, SAME)] == ["above 0", "below 1", "between -1.4 and 1.4"]
