from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pocket.pictures.distances import Plane, both, box, circle, polygon, segment, union, without

X, Y = np.meshgrid(np.linspace(-1.5, 1.5, 13), np.linspace(-1.5, 1.5, 13))
AT = Plane(X, Y)
L = [(-1.0, -1.0), (1.0, -1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (-1.0, 1.0)]


def outline_distance(corners: list[tuple[float, float]], points: int = 4000) -> np.ndarray:
    """The distance to the nearest of many points on the outline."""
    share = np.linspace(0, 1, points, endpoint=False)[:, None]
    ends = np.array(corners)
    dots = np.concatenate([a + (b - a) * share for a, b in zip(ends, np.roll(ends, -1, axis=0), strict=True)])
    return np.sqrt(((X[..., None] - dots[:, 0]) ** 2 + (Y[..., None] - dots[:, 1]) ** 2).min(axis=-1))


@pytest.mark.parametrize("corners", [L, L[::-1]])
def test_a_polygon_is_as_far_as_the_nearest_point_of_its_outline(corners: list[tuple[float, float]]) -> None:
    found = polygon(AT, corners)
    assert np.abs(found) == pytest.approx(outline_distance(corners), abs=1e-3)
    inside = (np.abs(X) < 1) & (np.abs(Y) < 1) & ~((X > 0) & (Y > 0))
    on = np.abs(found) < 1e-9
    assert np.array_equal((found < 0)[~on], inside[~on])


def test_a_box_is_the_polygon_of_its_corners() -> None:
    corners = [(-0.5, -0.8), (0.9, -0.8), (0.9, 0.2), (-0.5, 0.2)]
    assert box(AT, (0.2, -0.3), (0.7, 0.5)) == pytest.approx(polygon(AT, corners), abs=1e-12)


def test_a_segment_is_a_thickened_line_and_rounding_cuts_corners() -> None:
    line = segment(AT, (-0.5, 0.0), (0.5, 0.0), 0.2)
    assert line == pytest.approx(np.sqrt((X - np.clip(X, -0.5, 0.5)) ** 2 + Y**2) - 0.2, abs=1e-12)
    corner = Plane(np.array([[1.0]]), np.array([[1.0]]))
    # A quarter circle of radius r leaves (sqrt(2) - 1) r of the corner.
    rounded = box(corner, (0.0, 0.0), (1.0, 1.0), round_by=0.5)
    assert rounded[0, 0] == pytest.approx((np.sqrt(2) - 1) * 0.5)


def test_figures_combine_as_sets() -> None:
    left, right = circle(AT, (-0.4, 0.0), 0.8), circle(AT, (0.4, 0.0), 0.8)
    assert np.array_equal(union(left, right) < 0, (left < 0) | (right < 0))
    assert np.array_equal(both(left, right) < 0, (left < 0) & (right < 0))
    assert np.array_equal(without(left, right) < 0, (left < 0) & (right > 0))


def test_coordinates_are_moved_and_enlarged() -> None:
    moved = AT.moved(1.0, 2.0).enlarged(2.0)
    assert moved.x == pytest.approx((X - 1) / 2)
    assert moved.y == pytest.approx((Y - 2) / 2)
