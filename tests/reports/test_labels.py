"""Names beside points: clear of bars, markers and each other, and joined to their point where they lie far from it."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from reports.figures.canvas import blank, sheet
from reports.figures.cost import label_points
from reports.figures.labels import extents_of_bars


def drawn(points: list[tuple[str, float, float]], bar: float) -> Axes:
    """Return the axes of points with vertical bars of one length and their labels."""
    with sheet():
        figure, ((axes,),) = blank(1, 1, height=3.2)
        for _, x, y in points:
            axes.errorbar(x, y, yerr=bar, capsize=3, linestyle="", marker="o")
        axes.margins(x=0.14, y=0.12)
        label_points(figure, axes, points)
    return axes


def boxes(axes: Axes) -> list[Bbox]:
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[union-attr]
    return [note.get_window_extent(renderer) for note in axes.texts if note.get_text()]


def test_extents_cover_marker_bar_and_caps() -> None:
    axes = drawn([("one", 1.0, 5.0), ("two", 2.0, 7.0)], 1.5)
    for (x, y), found in zip(((1.0, 5.0), (2.0, 7.0)), np.array_split(np.array(extents_of_bars(axes)), 2), strict=True):
        low, high = axes.transData.transform([(x, y - 1.5), (x, y + 1.5)])
        assert found[:, 0, 1].min() <= low[1] <= high[1] <= found[:, 1, 1].max()
        assert found[:, 0, 0].min() < low[0] < found[:, 1, 0].max()


@pytest.mark.parametrize("seed", range(4))
def test_twelve_labels_cross_no_bar_and_no_other_label(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Costs in clusters and scores with long bars, as twelve methods of a comparison have them.
    costs = generator.choice([1.0, 1.15, 1.5, 2.0], size=12) + 0.02 * generator.normal(size=12)
    points = [(f"Method {place}", float(cost), float(70 + 3 * generator.normal())) for place, cost in enumerate(costs)]
    axes = drawn(points, 1.5)
    labels, bars = boxes(axes), extents_of_bars(axes)
    assert len(labels) == 12
    for place, label in enumerate(labels):
        assert not any(label.overlaps(other) for other in labels[:place])
        assert not any(label.overlaps(bar) for bar in bars), points[place]


def test_a_label_far_from_its_point_is_joined_to_it() -> None:
    near = drawn([("alone", 1.0, 1.0)], 0.1)
    assert [note.get_text() for note in near.texts] == ["alone"]
    crowded = drawn([(f"Method {place}", 1.0, 1.0) for place in range(6)], 0.1)
    joined = [note for note in crowded.texts if not note.get_text()]
    assert joined
    assert all(note.arrow_patch is not None and note.xy == (1.0, 1.0) for note in joined)
