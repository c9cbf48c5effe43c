from __future__ import annotations

import pytest

from analysis import DirectionError
from analysis.spaces.radius import smallest_scale


@pytest.mark.parametrize(
    ("coefficients", "radius", "expected"),
    [
        ((4.0, 0.0, 0.0), 3.0, 1.5),
        ((0.0, 0.0, 16.0), 1.0, 0.5),
        # t^2 (1 - t)^2 = 0.04 where t (1 - t) = 0.2, and the smaller of its two roots comes first.
        ((1.0, -2.0, 1.0), 0.2, (1 - 0.2**0.5) / 2),
        # t^2 + t^4 = 12 has t^2 = 3; scaled so that the coefficients are far from one.
        ((1e-20, 0.0, 1e-40), 12**0.5, 3**0.5 * 1e10),
    ],
)
def test_the_smallest_root_is_the_closed_form(coefficients, radius, expected) -> None:
    assert smallest_scale(*coefficients, radius) == pytest.approx(expected, rel=1e-9)


def test_a_direction_that_moves_nothing_is_refused() -> None:
    with pytest.raises(DirectionError, match=r"no multiple reaches radius 0\.5"):
        smallest_scale(0.0, 0.0, 0.0, 0.5)
