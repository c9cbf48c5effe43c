"""The difference of two groups of runs of one task, as a cell: paired over shared seeds and test examples.

Where two seeds or more are shared, seeds and examples are both random and the interval is Student's
(`reports.crossed`); a single shared seed has no interval over training runs, so its difference is shown without one
and the detail says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.comparison import score_matrix
from reports.crossed import Contrast, Measured, contrast_interval
from reports.fields import number
from reports.layout import Cell, difference_cell, hole
from reports.metric import Metric
from reports.runs import Run
from reports.statistics import StatisticsError


def paired_interval(runs: Sequence[Run], reference: Sequence[Run]) -> Measured | str:
    """Return the mean difference of scores, runs minus reference, with its interval, or why there is none."""
    return paired_over_tasks({"": runs}, {"": reference})


def paired_over_tasks(runs: Mapping[str, Sequence[Run]], reference: Mapping[str, Sequence[Run]]) -> Measured | str:
    """Return the difference of scores averaged over tasks, runs minus reference, or why there is none.

    Args:
        runs: Task -> the runs of one method.
        reference: The same of another, on the same tasks. Only seeds that all have are compared.
    """
    shared = set.intersection(*({run.seed for run in found} for found in (*runs.values(), *reference.values())))
    if not shared:
        return "no seed was finished by both methods"
    contrasts = []
    for task in runs:
        sides = (sorted(side[task], key=lambda run: run.seed) for side in (runs, reference))
        scored = score_matrix(tuple(run for side in sides for run in side if run.seed in shared))
        if isinstance(scored, str):
            return scored
        scores, statistic = scored
        half = len(scores) // 2
        contrasts.append(Contrast(terms=((1.0, scores[:half]), (-1.0, scores[half:])), statistic=statistic))
    try:
        return contrast_interval(contrasts)
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
