"""The difference of two groups of runs of one task, as a cell: paired over shared seeds and test examples.

Where two seeds or more are shared, seeds and examples are both random and the interval is Student's
(`reports.crossed`); a single shared seed has no interval over training runs, so its difference is shown without one
and the detail says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.comparison import score_matrix
from reports.crossed import Contrast, Measured, contrast_interval
from reports.fields import number
from reports.layout import Cell, difference_cell, hole
from reports.metric import Metric
from reports.runs import Run
from reports.statistics import StatisticsError


def paired_interval(runs: Sequence[Run], reference: Sequence[Run]) -> Measured | str:
    """Return the mean difference of scores, runs minus reference, with its interval, or why there is none."""
    shared = {run.seed for run in runs} & {run.seed for run in reference}
    if not shared:
        return "no seed was finished by both"
    pair = tuple(run for side in (runs, reference) for run in sorted(side, key=_seed) if run.seed in shared)
    scored = score_matrix(pair)
    if isinstance(scored, str):
        return scored
    scores, statistic = scored
    terms = ((1.0, scores[: len(shared)]), (-1.0, scores[len(shared) :]))
    try:
        return contrast_interval([Contrast(terms=terms, statistic=statistic)])
    except StatisticsError as error:
        return str(error)


def paired_cell(runs: Sequence[Run], reference: Sequence[Run], metric: Metric) -> Cell:
    """Return the cell of the difference: with its interval, bare for a single shared seed, or a hole."""
    found = paired_interval(runs, reference)
    if isinstance(found, Measured):
        return difference_cell(found.value, found.low, found.high, metric.difference)
    own, theirs = ({run.seed: number(run.row, "score") for run in side} for side in (runs, reference))
    pairs = [(own[seed], theirs[seed]) for seed in own if seed in theirs]
    first, second = pairs[0] if len(pairs) == 1 else (None, None)
    if first is not None and second is not None:
        value = first - second
        return Cell(text=metric.difference(value), detail="one shared seed, no interval", numbers=(("value", value),))
    return hole(found)


def _seed(run: Run) -> int:
    return run.seed
