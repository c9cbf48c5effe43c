"""How the scores of single examples become the score of a set, by the name of the metric.

Most metrics are means. The Matthews correlation (Matthews, Biochimica et Biophysica Acta 1975), GLUE's metric for CoLA
(Warstadt et al., TACL 2019, arXiv 1805.12471), is one of a whole set: the correlation of predicted and true classes, 0
for any constant answer. With two classes it follows from the true ones and from which answers are right; an answer that
names no class counts as the wrong one. A bootstrap takes it anew on every resample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Columns = NDArray[np.int64]
Statistic = Callable[[Scores, Columns], Scores]
"""`statistic(scores, columns)`: scores (N,) of one run and examples drawn from them (R, n) -> their R set scores."""


class MetricError(ValueError):
    """The examples are not such as the metric is defined for; the text says what was found."""


def mean_score(scores: Scores, columns: Columns) -> Scores:
    """Return the mean of every draw."""
    found: Scores = scores[columns].mean(axis=1)
    return found


def matthews_correlation(references: Sequence[str]) -> Statistic:
    """Return the Matthews correlation of examples with these references, which are their classes.

    Raises:
        MetricError: If there are more than two classes.
    """
    classes = sorted(set(references))
    if len(classes) > 2:
        raise MetricError(f"the Matthews correlation is taken over two classes, found {len(classes)}: {classes[:3]}")
    positive = np.array([reference == classes[-1] for reference in references], dtype=np.float64)

    def statistic(scores: Scores, columns: Columns) -> Scores:
        right, truly = scores[columns], positive[columns]
        true_positive, positives = (right * truly).sum(axis=1), truly.sum(axis=1)
        true_negative, negatives = (right * (1 - truly)).sum(axis=1), (1 - truly).sum(axis=1)
        false_negative, false_positive = positives - true_positive, negatives - true_negative
        numerator = true_positive * true_negative - false_positive * false_negative
        answered_positive, answered_negative = true_positive + false_positive, true_negative + false_negative
        product = answered_positive * answered_negative * positives * negatives
        found: Scores = numerator / np.sqrt(np.where(product > 0, product, 1.0))
        return found

    return statistic


#: Metrics that are no means of the examples' scores.
OF_A_SET: dict[str, Callable[[Sequence[str]], Statistic]] = {"Matthews correlation": matthews_correlation}


def statistic_of(metric: str, references: Sequence[str]) -> Statistic:
    """Return the set score of a metric for examples with these references.

    Raises:
        MetricError: If it is not defined for them.
    """
    return OF_A_SET[metric](references) if metric in OF_A_SET else mean_score


def set_score(metric: str, scores: Sequence[float], references: Sequence[str]) -> float:
    """Return the score of a whole set.

    Raises:
        MetricError: If the metric is not defined for it.
    """
    whole = np.arange(len(scores))[None, :]
    return float(statistic_of(metric, references)(np.asarray(scores, dtype=np.float64), whole)[0])
