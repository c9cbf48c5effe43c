"""Means, standard errors and paired bootstrap intervals of scores.

Two runs of a comparison answer the same test examples, and runs with one seed share data order and first weights,
so methods are compared by paired differences. What an interval covers depends on what was repeated: with one seed
it resamples test examples alone and says nothing about another training run; with several it resamples seeds and
examples as crossed factors, because every seed meets the same examples (the pigeonhole bootstrap: Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 2007). A metric of a whole set is taken anew on every resample.
Refused are unpaired scores and non-finite ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.set_scores import Mean, Statistic, Values, Weighted

Scores = Values
_Draw = tuple[int, NDArray[Any], NDArray[Any], NDArray[np.float64]]

LEVEL = 0.95
RESAMPLES = 10_000
#: Draws held at a time: resamples x examples stay below about 32 MB whatever the size of the test set.
_DRAWS_AT_A_TIME = 4_000_000
_BOOTSTRAP_SEED = 20_250_819
#: Below this, a bound is zero in exact arithmetic (scores are averages of at most a few million terms).
_ROUNDING = 1e-12
_MEAN = Mean()


class StatisticsError(ValueError):
    """Scores cannot be compared; the text says what was found."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Mean over runs; the standard error s / sqrt(n), s with n - 1 degrees of freedom, is None for one run."""

    mean: float
    standard_error: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A percentile bootstrap interval of a mean over `seeds` x `examples` scores."""

    low: float
    high: float
    level: float
    resamples: int
    seeds: int
    examples: int

    @property
    def covers(self) -> str:
        """What was resampled, and so what the interval speaks about."""
        return "test examples only" if self.seeds == 1 else "seeds and test examples"

    @property
    def coverage_limit(self) -> float | None:
        """How often such an interval covers the truth where differences between seeds dominate.

        The percentile bootstrap of n values reaches from the smallest to the largest at most, and n draws from a
        symmetric law lie on both sides of its centre with probability 1 - 2^(1 - n): 75 % for three seeds, so
        that six are needed for 95 %. None where the stated level is not limited by the seeds (or one seed).
        """
        limit = 1.0 - 2.0 ** (1 - self.seeds)
        return limit if self.seeds > 1 and limit < self.level else None


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean score of a method minus that of the baseline, on the same seeds and examples (both in 0..1)."""

    difference: float
    interval: Interval

    @property
    def distinguishable(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval.low > _ROUNDING or self.interval.high < -_ROUNDING


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and standard error over runs.

    Raises:
        StatisticsError: there are no values.
    """
    count = len(values)
    if count == 0:
        raise StatisticsError("no values to average")
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean=mean, standard_error=None, count=1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Estimate(mean=mean, standard_error=math.sqrt(variance / count), count=count)


def bootstrap_interval(
    scores: Scores, *, statistic: Statistic = _MEAN, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Return the percentile interval of the mean over seeds of the set score.

    A resample of a (S, N) array draws S seeds and, independently, N examples, both with replacement, and takes
    the statistic over the drawn columns, averaged over the drawn rows; with S = 1 only examples vary. The generator is
    private and fixed, so the same scores give the same interval, and methods compared with each other share their
    resamples.

    Args:
        scores: (S, N), one row a seed, one column a test example; what a statistic takes of each.
        statistic: Set score of one seed.
        level: Nominal coverage of the interval.
        resamples: Number of bootstrap resamples.

    Raises:
        StatisticsError: the array is empty, not two-dimensional, or holds a non-finite score.
    """
    return _interval(_resampled(scores, statistic, resamples), scores.shape, level)


def _interval(resampled: Scores, shape: tuple[int, ...], level: float) -> Interval:
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    seeds, examples = shape
    return Interval(
        low=float(low), high=float(high), level=level, resamples=len(resampled), seeds=seeds, examples=examples
    )


def _resampled(scores: Scores, statistic: Statistic, resamples: int) -> Scores:
    """Return the set score of every resample; arrays of one shape are drawn from alike."""
    if scores.ndim != 2 or scores.size == 0:
        raise StatisticsError(f"expected scores of shape (seeds, examples), found shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise StatisticsError("scores hold a value that is not finite")
    seeds, examples = scores.shape
    found = np.empty(resamples)
    for start, columns, counts, weights in _draws(seeds, examples, resamples):
        if isinstance(statistic, Weighted):
            by_seed = statistic.weighted(scores, counts.astype(np.float64))
        else:
            by_seed = np.stack([statistic(row, columns) for row in scores], axis=1)
        found[start : start + len(columns)] = (weights * by_seed).sum(axis=1) / seeds
    return found


@lru_cache(maxsize=4)
def _draws(seeds: int, examples: int, resamples: int) -> tuple[_Draw, ...]:
    """Return the draws of arrays of one shape, which all methods of a comparison share, in chunks of resamples.

    A draw is (its first place, examples drawn (R, N), how often each was drawn (R, N), how often each seed was (R, S)).
    """
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    chunk = max(1, _DRAWS_AT_A_TIME // examples)
    draws = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        columns = generator.integers(examples, size=(size, examples))
        flat = columns + examples * np.arange(size)[:, None]
        counts = np.bincount(flat.ravel(), minlength=size * examples).reshape(size, examples)
        weights = np.ones((size, 1))
        if seeds > 1:
            weights = generator.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=size).astype(np.float64)
        # Small integers: what is kept for the next method takes four bytes an entry, not eight.
        draws.append((start, columns.astype(np.int32), counts.astype(np.float32), weights))
    return tuple(draws)


def paired_difference(method: Scores, baseline: Scores, *, statistic: Statistic = _MEAN) -> PairedDifference:
    """Return the set score of `method` minus that of `baseline` with its interval; both (S, N), paired.

    Raises:
        StatisticsError: the shapes differ, so the scores are not paired.
    """
    if method.shape != baseline.shape:
        raise StatisticsError(f"scores are not paired: shapes {method.shape} and {baseline.shape}")
    resampled = [_resampled(scores, statistic, RESAMPLES) for scores in (method, baseline)]
    whole = np.arange(method.shape[1])[None, :]
    means = [np.mean([statistic(row, whole) for row in scores]) for scores in (method, baseline)]
    interval = _interval(resampled[0] - resampled[1], method.shape, LEVEL)
    return PairedDifference(difference=float(means[0] - means[1]), interval=interval)
