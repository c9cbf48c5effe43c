"""Two stores compared: for each task and method, what changed from the other to this one, and whether beyond noise.

Runs are paired where both stores have the same method, task and seed and answered the same test examples; seeds and
examples are then both random (`reports.crossed`). Where they cannot be paired, the means over seeds are compared with
the degrees of freedom of Welch (Biometrika 1947). A change is beyond noise if its probability, Holm-corrected for all
scores compared, is below 5 %; everything else is within noise, which does not say that nothing changed. Losses and
costs are compared seed by seed and carry their interval, without a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.crossed import Measured, mean_interval, student_interval
from reports.fields import number
from reports.metric import Metric
from reports.multiple import holm
from reports.paired import paired_interval
from reports.runs import Run
from reports.settings import setting_of, varied
from reports.statistics import LEVEL, Estimate, StatisticsError, estimate
from reports.store import Store


@dataclass(frozen=True, kw_only=True)
class Change:
    """One method on one task in both stores; scores are fractions of full marks, changes here minus there.

    Attributes:
        how: `paired`, `unpaired`, or empty where the scores were not compared.
        settings: In words, how the settings of the two stores differ; empty where they do not.
        bare: Difference of the scores of a single shared seed, which has no interval; None where there is not exactly
            one.
        planned: Whether this store has the method on the task, finished or not.
        identical: Whether every shared seed has the very same score, loss and answers.
        reason: Why the scores were not compared; empty where they were.
    """

    task: str
    method: str
    metric: Metric
    here: Estimate | None
    there: Estimate | None
    score: Measured | None
    loss: Measured | None
    cost: Measured | None
    how: str
    settings: str
    bare: float | None
    planned: bool
    identical: bool
    reason: str
    adjusted: float | None = None

    @property
    def verdict(self) -> str:
        """What can be said of the score."""
        if self.score is None:
            return "not compared"
        if self.identical:
            return "identical"
        if self.adjusted is None or self.adjusted >= 1.0 - LEVEL:
            return "within noise"
        return "higher, beyond noise" if self.score.value > 0 else "lower, beyond noise"


def build_changes(here: Store, there: Store) -> tuple[Change, ...]:
    """Return one change for each task and method that either store has a run or a plan of."""
    tasks = tuple(dict.fromkeys((*here.tasks, *there.tasks)))
    changes = [
        _change(here, there, task, method)
        for task in tasks
        for method in dict.fromkeys((*here.methods_of(task), *there.methods_of(task)))
    ]
    places = [place for place, change in enumerate(changes) if change.score is not None]
    adjusted = holm([score.probability for change in changes if (score := change.score) is not None])
    for place, probability in zip(places, adjusted, strict=True):
        changes[place] = replace(changes[place], adjusted=probability)
    return tuple(changes)


def _change(here: Store, there: Store, task: str, method: str) -> Change:
    own, other = here.runs_of(task, method), there.runs_of(task, method)
    score: Measured | str = "no run in this store" if not own else "no run in the other store"
    how = ""
    if own and other:
        score, how = paired_interval(own, other), "paired"
        if isinstance(score, str):
            paired = score
            score, how = _unpaired(_values(own, "score"), _values(other, "score")), "unpaired"
            score = f"{paired}; {score}" if isinstance(score, str) else score
    measured = score if isinstance(score, Measured) else None
    return Change(
        task=task,
        method=method,
        metric=(here if own else there).metric_of(task),
        here=_estimate(own),
        there=_estimate(other),
        score=measured,
        loss=_by_seed(own, other, "eval_loss"),
        cost=_by_seed(own, other, "step_gradients"),
        how=how if measured else "",
        settings=_settings(own, other),
        bare=_bare(own, other),
        planned=method in here.methods_of(task),
        identical=_identical(own, other),
        reason="" if isinstance(score, Measured) else score,
    )


def _values(runs: Sequence[Run], field: str) -> list[float]:
    return [value for run in runs if (value := number(run.row, field)) is not None]


def _estimate(runs: Sequence[Run]) -> Estimate | None:
    values = _values(runs, "score")
    return estimate(values) if values and len(values) == len(runs) else None


def _unpaired(own: list[float], other: list[float]) -> Measured | str:
    if len(own) < 2 or len(other) < 2:
        return f"{len(own)} and {len(other)} seeds, unpaired; an interval needs two on either side"
    first, second = estimate(own), estimate(other)
    errors = [(found.standard_error or 0.0) ** 2 for found in (first, second)]
    return student_interval(first.mean - second.mean, [(errors[0], len(own) - 1.0), (errors[1], len(other) - 1.0)])


def _by_seed(own: Sequence[Run], other: Sequence[Run], field: str) -> Measured | None:
    there = {run.seed: number(run.row, field) for run in other}
    pairs = [(number(run.row, field), there.get(run.seed)) for run in own]
    known = [first - second for first, second in pairs if first is not None and second is not None]
    try:
        return mean_interval(known)
    except StatisticsError:
        return None


def _bare(own: Sequence[Run], other: Sequence[Run]) -> float | None:
    there = {run.seed: number(run.row, "score") for run in other}
    pairs = [(number(run.row, "score"), there[run.seed]) for run in own if run.seed in there]
    first, second = pairs[0] if len(pairs) == 1 else (None, None)
    return None if first is None or second is None else first - second


def _settings(own: Sequence[Run], other: Sequence[Run]) -> str:
    if not own or not other:
        return ""
    mine, theirs = setting_of(own[0]), setting_of(other[0])
    return varied([mine], theirs)[mine]


def _identical(own: Sequence[Run], other: Sequence[Run]) -> bool:
    there = {run.seed: run for run in other}
    pairs = [(run, there[run.seed]) for run in own if run.seed in there]

    def trace(run: Run) -> tuple[object, ...]:
        return run.examples, number(run.row, "score"), number(run.row, "eval_loss")

    return bool(pairs) and all(trace(first) == trace(second) for first, second in pairs)
