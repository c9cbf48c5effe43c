"""How single examples become the score of a set, by the name of the metric.

Most metrics are means of the examples' scores. The Matthews correlation (Matthews, Biochimica et Biophysica Acta 1975),
GLUE's metric for CoLA (Warstadt et al., TACL 2019, arXiv 1805.12471), is one of a whole set: the correlation of
predicted and true classes, 0 for any constant answer. An answer that names no class is a class of its own that is
never true (Gorodkin, Computational Biology and Chemistry 2004, has the correlation of several classes). A bootstrap
takes the score of a set anew on every resample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Columns = NDArray[np.int64]
Statistic = Callable[[Values, Columns], Values]
"""`statistic(values, columns)`: one value (N,) an example, examples drawn from them (R, n) -> R set scores."""

Counts = NDArray[np.float64]


@runtime_checkable
class Weighted(Protocol):
    """A statistic that can be taken from how often each example was drawn, which is one matrix product."""

    def weighted(self, values: Values, counts: Counts) -> Values:
        """Return the set score of every draw and row: values (S, N), counts (R, N) -> (R, S)."""
        ...


class MetricError(ValueError):
    """The examples are not such as the metric is defined for; the text says what was found."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a metric may read of one example: the score of its answer, the right answer, and the answer."""

    score: float
    reference: str
    generated: str


class Mean:
    """The mean of the scores."""

    def values(self, examples: Sequence[Answered]) -> Values:
        """Return the scores."""
        return np.array([example.score for example in examples], dtype=np.float64)

    def __call__(self, values: Values, columns: Columns) -> Values:
        """Return the mean of every draw."""
        found: Values = values[columns].mean(axis=1)
        return found

    def weighted(self, values: Values, counts: Counts) -> Values:
        """Return the mean of every draw and row, from how often a draw holds each example."""
        found: Values = counts @ values.T / counts.sum(axis=1, keepdims=True)
        return found


class MatthewsCorrelation:
    """The Matthews correlation of answers with right answers, which are the classes.

    Args:
        references: The right answers of all examples.

    Raises:
        MetricError: If there are more than two classes.
    """

    def __init__(self, references: Sequence[str]) -> None:
        self._classes = sorted({reference.strip() for reference in references})
        if len(self._classes) > 2:
            raise MetricError(
                f"the Matthews correlation is taken over two classes, found {len(self._classes)}: {self._classes[:3]}"
            )
        self._truth = np.array([self._class(reference) for reference in references])

    def _class(self, text: str) -> int:
        return self._classes.index(text.strip()) if text.strip() in self._classes else 2

    def values(self, examples: Sequence[Answered]) -> Values:
        """Return the classes that were answered, by number; 2 is none of them."""
        return np.array([self._class(example.generated) for example in examples], dtype=np.float64)

    def __call__(self, values: Values, columns: Columns) -> Values:
        """Return the correlation of every draw, 0 where either side is constant."""
        answered, truly = values[columns], self._truth[columns]
        counts = [((answered == name).sum(axis=1), (truly == name).sum(axis=1)) for name in range(3)]
        right = (answered == truly).sum(axis=1)
        return _correlation(right, counts, np.full(len(columns), columns.shape[1]))

    def weighted(self, values: Values, counts: Counts) -> Values:
        """Return the correlation of every draw and row, from how often a draw holds each example."""

        def held(which: NDArray[np.bool_]) -> Values:
            total: Values = counts @ np.atleast_2d(which).astype(np.float64).T
            return total

        pairs = [(held(values == name), held(self._truth == name)) for name in range(3)]
        return _correlation(held(values == self._truth), pairs, counts.sum(axis=1, keepdims=True))


def _correlation(right: NDArray[Any], counts: list[tuple[NDArray[Any], NDArray[Any]]], drawn: NDArray[Any]) -> Values:
    """Return the correlation from counts of right answers, of answers and of truths by class, and of all examples."""
    covariance = drawn * right - sum(a * t for a, t in counts)
    spreads = [drawn**2 - sum(count[side] ** 2 for count in counts) for side in (0, 1)]
    product = np.asarray(spreads[0], dtype=np.float64) * spreads[1]
    found: Values = np.where(product > 0, covariance, 0.0) / np.sqrt(np.where(product > 0, product, 1.0))
    return found


SetMetric = Mean | MatthewsCorrelation
#: Metrics of a whole set, which no share of full marks is.
OF_A_SET = ("Matthews correlation",)


def metric_of(name: str, references: Sequence[str]) -> SetMetric:
    """Return the metric of a name for examples with these right answers; names that are not known are means.

    Raises:
        MetricError: If it is not defined for them.
    """
    return MatthewsCorrelation(references) if name in OF_A_SET else Mean()


def set_score(name: str, examples: Sequence[Answered]) -> float:
    """Return the score of a whole set.

    Raises:
        MetricError: If the metric is not defined for it.
    """
    metric = metric_of(name, [example.reference for example in examples])
    return float(metric(metric.values(examples), np.arange(len(examples))[None, :])[0])
