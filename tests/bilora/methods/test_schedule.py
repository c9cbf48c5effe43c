from __future__ import annotations

import pytest

from bilora.methods import Lora, MethodError
from bilora.methods.schedule import remaining


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1.0, 1.0, 1.0]), ("linear", [1.0, 0.75, 0.0]), ("cosine", [1.0, 0.85355339, 0.0])],
)
def test_share_that_remains_at_the_start_after_a_quarter_and_at_the_end(schedule: str, expected: list[float]) -> None:
    method = Lora()
    method.total_steps = 8
    found = []
    for method.steps in (0, 2, 8):
        found.append(remaining(method, schedule))
    assert found == pytest.approx(expected, abs=1e-8)


def test_a_falling_schedule_needs_the_number_of_steps() -> None:
    assert remaining(Lora(), "constant") == 1.0
    with pytest.raises(MethodError, match="pass total_steps=N to "):
        remaining(Lora(), "linear")
