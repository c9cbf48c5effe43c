"""The computations behind the pictures show what the page says they show."""

from __future__ import annotations

import pytest

from docs.pages.gauges import FOLDER, measure_gauges, measure_rises


def test_only_the_curvature_in_raw_factors_depends_on_their_scale() -> None:
    found = measure_gauges((0.25, 0.5, 1.0, 4.0))
    assert max(found.raw) > 30 * min(found.raw)
    assert found.balanced == pytest.approx([found.balanced[0]] * 4, rel=1e-6)
    assert found.full == pytest.approx([found.full[0]] * 4, rel=1e-6)
    # As the page prints them.
    assert (found.balanced[0], found.full[0]) == pytest.approx((41.2, 3.6), rel=0.02)


def test_the_worst_case_of_a_larger_space_is_worse_and_grows_with_the_radius() -> None:
    found = measure_rises((0.02, 0.05))
    assert all(small < large for small, large in found.values())
    assert found["full"][1] > found["tangent"][1] > found["lora"][1] > 0
    assert (found["full"][1], found["lora"][1]) == pytest.approx((0.0117, 0.0013), rel=0.05)


def test_the_pictures_are_committed() -> None:
    for name in ("scalar", "gauge", "rises"):
        text = (FOLDER / f"{name}.svg").read_text()
        assert text.startswith("<?xml")
        assert "http://www.w3.org" in text
        assert "<dc:date>" not in text
