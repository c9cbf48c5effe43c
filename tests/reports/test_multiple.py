"""Holm's correction against its definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.multiple import holm


def test_holms_own_steps_are_followed() -> None:
    # Worked by hand: 0.01 x 4, 0.013 x 3 raised to what came before, 0.04 x 2, 0.05 x 1 raised again.
    assert holm([0.05, 0.01, 0.04, 0.013]) == pytest.approx((0.08, 0.04, 0.08, 0.04))
    assert holm([]) == ()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_what_is_rejected_is_what_the_step_down_procedure_rejects(probabilities: list[float], level: float) -> None:
    ordered = sorted(probabilities)
    rejected = 0
    for rank, value in enumerate(ordered):
        if (len(ordered) - rank) * value >= level:
            break
        rejected += 1
    assert sum(adjusted < level for adjusted in holm(probabilities)) == rejected


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected probabilities in \[0, 1\]"):
        holm([0.1, 1.5])
