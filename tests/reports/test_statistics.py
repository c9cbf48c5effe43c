"""Statistics against closed forms and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from reports.statistics import (
    Interval,
    PairedDifference,
    StatisticsError,
    bootstrap_interval,
    estimate,
    paired_difference,
)


def test_estimate_is_scipys_mean_and_standard_error() -> None:
    values = [0.31, 0.35, 0.42, 0.29]
    found = estimate(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-14)
    assert found.standard_error == pytest.approx(scipy.stats.sem(values), rel=1e-14)
    assert found.count == 4


def test_one_run_has_no_standard_error() -> None:
    assert estimate([0.5]).standard_error is None


def test_estimate_of_nothing_is_refused() -> None:
    with pytest.raises(StatisticsError, match="no values"):
        estimate([])


def test_one_seed_interval_has_the_quantiles_of_the_binomial() -> None:
    # The bootstrap mean of n zeros and ones is exactly Binomial(n, p) / n.
    count, right = 400, 130
    scores = np.zeros((1, count))
    scores[0, :right] = 1.0
    found = bootstrap_interval(scores)
    low, high = scipy.stats.binom.ppf([0.025, 0.975], count, right / count) / count
    assert abs(found.low - low) <= 1.01 / count
    assert abs(found.high - high) <= 1.01 / count


def test_one_seed_interval_agrees_with_scipy_bootstrap() -> None:
    differences = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=300)
    found = bootstrap_interval(differences[None, :])
    other = scipy.stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(9)
    ).confidence_interval
    assert found.low == pytest.approx(other.low, abs=0.006)
    assert found.high == pytest.approx(other.high, abs=0.006)


def test_several_seeds_interval_has_the_variance_of_crossed_resampling() -> None:
    generator = np.random.default_rng(5)
    seeds, examples = 12, 40
    scores = generator.normal(size=(seeds, 1)) + generator.normal(size=(1, examples)) + generator.normal(size=(12, 40))
    # With independent multinomial weights on rows and columns the variance of the weighted mean is exact:
    # row effects / S + column effects / N + interaction / (S N), effects with population variances.
    rows, columns = scores.mean(axis=1), scores.mean(axis=0)
    interaction = scores - rows[:, None] - columns[None, :] + scores.mean()
    variance = rows.var() / seeds + columns.var() / examples + (interaction**2).mean() / (seeds * examples)
    found = bootstrap_interval(scores)
    width = (found.high - found.low) / (2 * scipy.stats.norm.ppf(0.975))
    assert width == pytest.approx(math.sqrt(variance), rel=0.06)


def test_few_seeds_interval_reaches_from_the_smallest_to_the_largest_seed() -> None:
    # Each seed is drawn three times over with probability 1/27 > 2.5 %: hence the coverage limit of 75 %.
    means = np.array([0.1, 0.3, 0.8])
    found = bootstrap_interval(np.repeat(means[:, None], 50, axis=1))
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.8))
    assert found.coverage_limit == pytest.approx(0.75)


def test_coverage_limit_is_what_a_simulation_finds() -> None:
    generator = np.random.default_rng(11)
    trials = [np.repeat(generator.normal(size=(3, 1)), 4, axis=1) for _ in range(600)]
    intervals = [bootstrap_interval(scores, resamples=1500) for scores in trials]
    covered = np.mean([found.low <= 0.0 <= found.high for found in intervals])
    assert covered == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize(("seeds", "limit"), [(1, None), (2, 0.5), (5, 0.9375), (6, None)])
def test_coverage_is_limited_below_six_seeds(seeds: int, limit: float | None) -> None:
    found = Interval(low=0.0, high=1.0, level=0.95, resamples=10, seeds=seeds, examples=5)
    assert found.coverage_limit == limit


def test_chunks_do_not_depend_on_their_number() -> None:
    scores = np.random.default_rng(0).uniform(size=(1, 3000))
    found = bootstrap_interval(scores)
    spread = scores.std() / math.sqrt(3000)
    assert (found.low, found.high) == (
        pytest.approx(scores.mean() - 1.96 * spread, abs=0.15 * spread),
        pytest.approx(scores.mean() + 1.96 * spread, abs=0.15 * spread),
    )


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    bootstrap_interval(np.ones((2, 3)))
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index, union-attr]


def test_pairing_removes_what_the_examples_share() -> None:
    difficulty = np.random.default_rng(2).uniform(size=(1, 500))
    base, better = (difficulty < 0.5).astype(float), (difficulty < 0.54).astype(float)
    found = paired_difference(better, base)
    assert found.difference == pytest.approx(better.mean() - base.mean())
    assert found.distinguishable
    alone = bootstrap_interval(better)
    assert alone.high - alone.low > 2 * (found.interval.high - found.interval.low)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.01, 0.2, True), (-0.2, -0.01, True), (0.0, 0.1, False), (-1e-17, 0.1, False)]
)
def test_distinguishable_means_that_the_interval_excludes_zero(low: float, high: float, expected: bool) -> None:
    interval = Interval(low=low, high=high, level=0.95, resamples=10, seeds=1, examples=5)
    assert PairedDifference(difference=0.05, interval=interval).distinguishable is expected


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(StatisticsError, match=r"\(1, 3\) and \(1, 4\)"):
        paired_difference(np.ones((1, 3)), np.ones((1, 4)))


@pytest.mark.parametrize("scores", [np.ones(3), np.ones((0, 3)), np.ones((2, 0)), np.array([[1.0, np.nan]])])
def test_scores_that_are_no_scores_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(StatisticsError):
        bootstrap_interval(scores)
