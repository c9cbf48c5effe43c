from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.crossed import Contrast, Measured, contrast_interval, mean_interval
from reports.set_scores import Answered, Columns, MatthewsCorrelation, Values
from reports.statistics import StatisticsError


def t_interval(values: Values) -> tuple[float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return float(low), float(high)


def ends(measured: Measured) -> tuple[float, float]:
    return measured.low, measured.high


def test_examples_that_always_agree_leave_the_t_interval_over_seeds() -> None:
    by_seed = np.array([0.1, 0.3, -0.2, 0.05, 0.4])
    scores = np.repeat(by_seed[:, None], 30, axis=1)
    found = contrast_interval([Contrast(terms=((1.0, scores), (-1.0, np.zeros_like(scores))))])
    assert found.value == pytest.approx(by_seed.mean())
    assert ends(found) == pytest.approx(t_interval(by_seed))
    assert found.degrees == pytest.approx(4.0)


def test_seeds_that_always_agree_leave_the_t_interval_over_examples() -> None:
    by_example = np.random.default_rng(0).normal(size=40)
    scores = np.repeat(by_example[None, :], 5, axis=0)
    found = contrast_interval([Contrast(terms=((1.0, scores),))])
    assert ends(found) == pytest.approx(t_interval(by_example))
    assert found.degrees == pytest.approx(39.0)


def test_a_contrast_weighs_its_terms() -> None:
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, 4, 25))
    together = contrast_interval([Contrast(terms=((0.5, a), (-1.0, b), (0.5, c)))])
    alone = contrast_interval([Contrast(terms=((1.0, 0.5 * a - b + 0.5 * c),))])
    assert ends(together) == pytest.approx(ends(alone), abs=1e-12)
    assert together.value == pytest.approx((0.5 * a - b + 0.5 * c).mean())


class Plain:
    def __call__(self, values: Values, columns: Columns) -> Values:
        found: Values = values[columns].mean(axis=1)
        return found


def test_pseudo_values_of_a_mean_are_the_scores() -> None:
    scores = np.random.default_rng(2).normal(size=(4, 25))
    by_jackknife = contrast_interval([Contrast(terms=((1.0, scores),), statistic=Plain())])
    direct = contrast_interval([Contrast(terms=((1.0, scores),))])
    assert ends(by_jackknife) == pytest.approx(ends(direct), abs=1e-12)


def test_the_interval_of_a_correlation_is_as_wide_as_its_estimates_scatter() -> None:
    """The set score stays that of the set, and its jackknife spread is that of repeated experiments."""
    rng = np.random.default_rng(3)
    truth = rng.integers(2, size=100)
    references = [str(value) for value in truth]
    metric = MatthewsCorrelation(references)

    def answers(share: float) -> Values:
        right = rng.random((4, 100)) < share
        return np.where(right, truth, 1 - truth).astype(np.float64)

    asked = [Answered(score=0.0, reference=r, generated=r) for r in references]
    assert metric.values(asked).tolist() == truth.tolist()  # classes are numbered as written
    everything = np.arange(100)[None, :]

    def estimate(scores: Values) -> float:
        return float(np.mean([metric(row, everything)[0] for row in scores]))

    found, deviations = [], []
    for trial in range(400):
        method, baseline = answers(0.8), answers(0.7)
        found.append(estimate(method) - estimate(baseline))
        if trial % 10 == 0:
            measured = contrast_interval([Contrast(terms=((1.0, method), (-1.0, baseline)), statistic=metric)])
            assert measured.value == pytest.approx(found[-1])
            half = (measured.high - measured.low) / 2
            deviations.append(half / stats.t.ppf(0.975, measured.degrees))
    assert np.mean(deviations) == pytest.approx(np.std(found), rel=0.15)


def test_five_seeds_are_covered_as_often_as_stated_where_a_bootstrap_is_not() -> None:
    """Seeds, examples and their interplay vary; the true difference is 0."""
    rng = np.random.default_rng(4)
    covered = {"student": 0, "bootstrap": 0}
    trials = 1000
    for _ in range(trials):
        seeds, examples = rng.normal(scale=0.1, size=(5, 1)), rng.normal(scale=0.3, size=(1, 60))
        scores = seeds + examples + rng.normal(scale=0.5, size=(5, 60))
        found = contrast_interval([Contrast(terms=((1.0, scores),))])
        covered["student"] += found.low < 0.0 < found.high
        low, high = np.quantile(rng.choice(scores.mean(axis=1), size=(500, 5)).mean(axis=1), [0.025, 0.975])
        covered["bootstrap"] += low < 0.0 < high
    assert 0.93 <= covered["student"] / trials <= 0.97
    assert covered["bootstrap"] / trials < 0.88


def test_tasks_are_pooled_with_the_seeds_they_share() -> None:
    """What one seed gains on one task it loses on the other, so that the pool does not vary over seeds."""
    by_seed = np.array([0.3, -0.1, 0.4, 0.0, 0.1])
    one, other = (np.repeat((0.5 + sign * by_seed)[:, None], 20, axis=1) for sign in (1.0, -1.0))
    found = contrast_interval([Contrast(terms=((1.0, one),)), Contrast(terms=((1.0, other),))])
    assert ends(found) == pytest.approx((0.5, 0.5))


def test_a_mean_over_seeds_has_the_t_interval() -> None:
    values = [1.0, 2.0, 4.0]
    found = mean_interval(values)
    assert ends(found) == pytest.approx(t_interval(np.array(values)))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "no task"),
        ([Contrast(terms=((1.0, np.zeros((1, 5))),))], "at least two"),
        ([Contrast(terms=((1.0, np.zeros((3, 1))),))], "1 test examples"),
        ([Contrast(terms=((1.0, np.zeros((3, 5))), (1.0, np.zeros((3, 4)))))], "not paired"),
        ([Contrast(terms=((1.0, np.full((3, 5), np.nan)),))], "not finite"),
        ([Contrast(terms=((1.0, np.zeros((n, 5))),)) for n in (2, 3)], "different numbers of seeds"),
    ],
)
def test_what_has_no_interval_is_refused(tasks: list[Contrast], message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        contrast_interval(tasks)
