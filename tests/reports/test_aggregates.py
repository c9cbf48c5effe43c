"""Aggregates over tasks against SciPy and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from reports.aggregates import (
    AGGREGATES,
    aggregate,
    improvement,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
)
from reports.statistics import StatisticsError

SCORES = np.random.default_rng(3).uniform(0.2, 0.9, size=(4, 5))


@given(arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(0, 1)))
@settings(max_examples=60)
def test_the_interquartile_mean_is_scipy_s_trimmed_mean(scores: np.ndarray) -> None:
    assert float(interquartile_mean(scores)) == pytest.approx(stats.trim_mean(scores.ravel(), 0.25), abs=1e-12)


def test_the_others_are_what_they_are_called() -> None:
    assert float(median(SCORES)) == pytest.approx(np.median([row.mean() for row in SCORES]))
    assert float(mean(SCORES)) == pytest.approx(SCORES.mean())
    assert float(optimality_gap(SCORES)) == pytest.approx(1 - SCORES.mean())
    assert float(optimality_gap(np.array([[1.5, 0.5]]))) == pytest.approx(0.25)


@pytest.mark.parametrize("name", AGGREGATES)
def test_resamples_are_taken_one_by_one(name: str) -> None:
    stacked = np.stack([SCORES, SCORES[::-1] ** 2])
    one_by_one = [float(AGGREGATES[name](scores)) for scores in stacked]
    assert AGGREGATES[name](stacked) == pytest.approx(one_by_one)


def test_the_interval_is_that_of_all_resamples_within_tasks() -> None:
    scores = np.array([[0.1, 0.4, 0.5], [0.6, 0.9, 0.8]])
    # All 27 x 27 resamples of two tasks of three runs, each task by itself.
    draws = list(itertools.product(range(3), repeat=3))
    exact = [scores[0, list(a)].mean() / 2 + scores[1, list(b)].mean() / 2 for a in draws for b in draws]
    found = aggregate(scores, mean)
    assert found.value == pytest.approx(scores.mean())
    low, high = np.quantile(exact, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_runs_of_one_task_are_never_drawn_for_another() -> None:
    # Tasks without spread leave nothing to resample, however far they lie apart.
    found = aggregate(np.array([[0.1, 0.1], [0.9, 0.9]]), mean)
    assert found.low == found.high == pytest.approx(0.5)


def test_the_probability_of_improvement_is_mann_and_whitney_s() -> None:
    generator = np.random.default_rng(1)
    own, theirs = generator.integers(0, 6, size=(3, 4)) / 5, generator.integers(0, 5, size=(3, 6)) / 5
    expected = np.mean(
        [stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in zip(own, theirs, strict=True)]
    )
    found = improvement(own, theirs)
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    assert improvement(theirs, own).value == pytest.approx(1 - expected)


def test_one_run_has_no_interval_and_unequal_tasks_are_refused() -> None:
    with pytest.raises(StatisticsError, match="at least two runs"):
        aggregate(np.array([[0.1], [0.2]]), mean)
    with pytest.raises(StatisticsError, match="found 4 and 3 tasks"):
        improvement(SCORES, SCORES[:3])
    with pytest.raises(StatisticsError, match="not finite"):
        aggregate(np.array([[0.1, np.nan]]), mean)
