"""Records of `--landscape`: read as stored, gaps for what overflowed, refused where lengths differ."""

from __future__ import annotations

import math

import pytest

from reports.landscapes import read_density, read_plane, read_robustness


def test_a_robustness_curve_may_have_scores_and_gaps() -> None:
    found = read_robustness({"alphas": [0, 0.5], "losses": [0.1, None], "metrics": [0.7, 0.4], "examples": 64})
    assert found is not None
    assert (found.alphas, found.scores, found.examples) == ((0.0, 0.5), (0.7, 0.4), 64)
    assert math.isnan(found.losses[1])
    alone = read_robustness({"alphas": [0, 0.5], "losses": [0.1, 0.2], "metrics": None})
    assert alone is not None
    assert alone.scores == ()


def test_what_was_not_taken_is_none() -> None:
    # What could not be taken holds its reason alone.
    for read in (read_robustness, read_density, read_plane):
        assert read({}) is read({"problem": "the gradient is zero"}) is None


def test_lengths_have_to_agree() -> None:
    with pytest.raises(ValueError, match="robustness: expected 2 values"):
        read_robustness({"alphas": [0, 1], "losses": [0.1]})
    with pytest.raises(ValueError, match="density: expected 3 values"):
        read_density({"grid": [0, 1, 2], "density": [1, 2]})
    plane = {"alphas": [-1, 0, 1], "betas": [0, 1], "losses": [[1, 2], [3, 4], [5, 6]]}
    found = read_plane(plane)
    assert found is not None
    assert found.losses == ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    with pytest.raises(ValueError, match="plane: expected 2 values"):
        read_plane(plane | {"losses": [[1, 2], [3], [5, 6]]})
    with pytest.raises(ValueError, match="plane: expected 3 values"):
        read_plane(plane | {"losses": [[1, 2], [3, 4]]})
