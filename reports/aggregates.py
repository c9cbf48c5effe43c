"""Scores of a method over tasks as one number with its interval (Agarwal et al., NeurIPS 2021, arXiv 2108.13264).

The interquartile mean drops a quarter of all runs at either end and averages the rest, so that one easy or broken task
does not decide; the optimality gap is how far runs stay below full marks on average. Intervals are percentiles of a
bootstrap that resamples the runs of every task by themselves. The probability of improvement is that of a run of the
method scoring above a run of the baseline on the same task (ties count half: Mann and Whitney, 1947), averaged over
tasks. Runs are not paired here and test examples are not resampled; the paired differences are `reports.paired`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.fields import number
from reports.statistics import LEVEL, StatisticsError
from reports.store import Store

Values = NDArray[np.float64]
#: Scores (tasks, runs) or resamples of them (R, tasks, runs) -> one number for each array of scores.
Aggregate = Callable[[Values], Values]

_RESAMPLES = 10_000
_SEED = 21_080_813


@dataclass(frozen=True, kw_only=True)
class Aggregated:
    """A number over tasks and runs with its bootstrap interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: Values) -> Values:
    """Return the mean of the middle half of all runs: a quarter of them, rounded down, is dropped at either end."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    found: Values = flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)
    return found


def median(scores: Values) -> Values:
    """Return the median over tasks of the mean over runs."""
    return np.asarray(np.median(scores.mean(axis=-1), axis=-1), dtype=np.float64)


def mean(scores: Values) -> Values:
    """Return the mean over tasks and runs."""
    return np.asarray(scores.mean(axis=(-2, -1)), dtype=np.float64)


def optimality_gap(scores: Values) -> Values:
    """Return how far below full marks runs are on average; what is above counts as full marks."""
    return np.asarray(1.0 - np.minimum(scores, 1.0).mean(axis=(-2, -1)), dtype=np.float64)


#: In the order in which they are shown -> name.
AGGREGATES: dict[str, Aggregate] = {
    "Interquartile mean": interquartile_mean,
    "Median": median,
    "Mean": mean,
    "Optimality gap": optimality_gap,
}


def aggregate(scores: Values, take: Aggregate) -> Aggregated:
    """Return an aggregate of scores (tasks, runs) with its interval.

    Raises:
        StatisticsError: There is no task, there are fewer than two runs, or a score is not finite.
    """
    _check(scores)
    return _interval(float(take(scores)), take(_resampled(scores, np.random.default_rng(_SEED))))


def improvement(method: Values, baseline: Values) -> Aggregated:
    """Return the probability that a run of the method beats one of the baseline, mean over tasks, with its interval.

    Args:
        method: Scores (tasks, runs).
        baseline: Scores (tasks, runs) of the same tasks; the number of runs may differ.

    Raises:
        StatisticsError: As `aggregate`, or the tasks differ in number.
    """
    _check(method)
    _check(baseline)
    if len(method) != len(baseline):
        raise StatisticsError(f"expected scores of the same tasks, found {len(method)} and {len(baseline)} tasks")
    generator = np.random.default_rng(_SEED)
    resampled = _resampled(method, generator), _resampled(baseline, generator)
    return _interval(float(_above(method, baseline)), _above(*resampled))


def scores_over_tasks(store: Store, method: str) -> Values | None:
    """Return a method's scores (tasks, seeds) at the seeds that it has on every task; None where a score is missing."""
    by_task = [{run.seed: number(run.row, "score") for run in store.runs_of(task, method)} for task in store.tasks]
    seeds = sorted(set.intersection(*(set(found) for found in by_task))) if by_task else []
    rows: list[list[float]] = []
    for found in by_task:
        scores = [score for seed in seeds if (score := found[seed]) is not None]
        if not scores or len(scores) < len(seeds):
            return None
        rows.append(scores)
    return np.array(rows)


def _above(method: Values, baseline: Values) -> Values:
    """Return P(method > baseline) + P(equal) / 2 over all pairs of runs, mean over tasks."""
    own, theirs = method[..., :, None], baseline[..., None, :]
    won = (own > theirs) + 0.5 * (own == theirs)
    return np.asarray(won.mean(axis=(-3, -2, -1)), dtype=np.float64)


def _resampled(scores: Values, generator: np.random.Generator) -> Values:
    """Return (R, tasks, runs): the runs of every task drawn with replacement, each task by itself."""
    tasks, runs = scores.shape
    places = generator.integers(runs, size=(_RESAMPLES, tasks, runs))
    return scores[np.arange(tasks)[None, :, None], places]


def _interval(value: float, resampled: Values) -> Aggregated:
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Aggregated(value=value, low=float(low), high=float(high))


def _check(scores: Values) -> None:
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise StatisticsError(f"expected scores (tasks, runs) of at least two runs, found shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise StatisticsError("scores hold one that is not finite")


def comparable(store: Store, methods: Sequence[str]) -> dict[str, Values]:
    """Return the scores of the methods that have at least two seeds on every task."""
    found = {method: scores_over_tasks(store, method) for method in methods}
    return {method: scores for method, scores in found.items() if scores is not None and scores.shape[1] > 1}


@dataclass(frozen=True, kw_only=True)
class MethodAggregates:
    """One method over tasks: aggregate by name, and the probability of improvement on the baseline.

    `improvement` is None for the baseline itself, and where the baseline has not two seeds on every task.
    """

    runs: int
    values: dict[str, Aggregated]
    improvement: Aggregated | None


def build_aggregates(store: Store, methods: Sequence[str]) -> dict[str, MethodAggregates]:
    """Return the aggregates by method; empty for a single task, or where fewer than two methods can be compared."""
    scores = comparable(store, methods) if len(store.tasks) > 1 else {}
    if len(scores) < 2:
        return {}
    baseline = scores.get(store.baseline)
    return {
        method: MethodAggregates(
            runs=found.shape[1],
            values={name: aggregate(found, take) for name, take in AGGREGATES.items()},
            improvement=None if baseline is None or method == store.baseline else improvement(found, baseline),
        )
        for method, found in scores.items()
    }
