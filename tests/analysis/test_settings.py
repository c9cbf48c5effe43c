from __future__ import annotations

import pytest

from analysis import AnalysisError, FlatnessSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spaces": ()}, "one or more different names"),
        ({"spaces": ("full", "full")}, "one or more different names"),
        ({"spaces": ("ful",)}, "did you mean 'full'"),
        ({"radius": -0.1}, "radius is -0.1"),
        ({"average_radius": 0.0}, "average_radius is 0.0"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"top": -1}, "top is -1; expected at least 0"),
        ({"basis_size": 6}, "basis_size is 6; expected at least 7"),
        ({"max_products": 3}, "max_products is 3; expected at least 4"),
        ({"ascent_steps": 0}, "ascent_steps is 0; expected at least 1"),
        ({"ascent_tolerance": 0.0}, "ascent_tolerance is 0.0; expected a positive relative rise"),
        ({"average_tolerance": -1.0}, "average_tolerance is -1.0; expected a positive relative standard error"),
        ({"gradient_rank": -1}, "gradient_rank is -1; expected at least 0"),
        ({"average_draws": 1}, "average_draws is 1; expected 0, or at least 2"),
        ({"slice_points": 4}, "odd number"),
        ({"slice_extent": 0.0}, "positive multiple"),
        ({"slice_directions": -1}, "slice_directions is -1"),
        ({"graph_budget_bytes": -1}, "graph_budget_bytes is -1"),
    ],
)
def test_impossible_settings_are_refused_before_any_work(settings, message) -> None:
    with pytest.raises(AnalysisError, match=message):
        FlatnessSettings(**settings)


def test_defaults_are_possible() -> None:
    assert FlatnessSettings().spaces == ("full", "lora")
