"""Which method is best on a task, and which are not distinguishable from it.

The best has the highest mean score. Every other method is compared with it by a paired test over shared seeds and test
examples, both random (`reports.crossed`), and the probabilities are corrected for their number (Holm). A method whose
corrected probability is not below the level is not distinguishable from the best; that says that these runs cannot
tell them apart, not that they are equal. A method with a single seed is neither ranked nor tested where others have
several. Where none has more than one there is no test: the best is then the highest number, and nothing is said of the
others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.fields import number
from reports.multiple import holm
from reports.paired import paired_over_tasks
from reports.runs import Run
from reports.statistics import LEVEL, estimate
from reports.store import Store

_ALPHA = 1.0 - LEVEL


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one method stands against the best one.

    Attributes:
        best: Whether its mean is the highest (the first of equals in the order of the comparison).
        probability: Of the paired test against the best; None for the best itself and where there is no test.
        adjusted: The same after Holm's correction.
        reason: Why there is no test; empty where there is one, and for the best.
    """

    method: str
    best: bool
    probability: float | None = None
    adjusted: float | None = None
    reason: str = ""

    @property
    def indistinguishable(self) -> bool:
        """Whether it was tested against the best and not told apart."""
        return self.adjusted is not None and self.adjusted >= _ALPHA

    @property
    def mark(self) -> str:
        """`best`, `tied` (not distinguishable from the best) or nothing."""
        return "best" if self.best else "tied" if self.indistinguishable else ""


def standings(store: Store, tasks: Sequence[str], methods: Sequence[str] | None = None) -> dict[str, Standing]:
    """Return how methods stand on one task, or on the average of several, by method.

    Args:
        store: The runs.
        tasks: A method counts only if it has scores on all of them.
        methods: The methods that are compared; all of the store if None.
    """
    runs: dict[str, dict[str, tuple[Run, ...]]] = {}
    for method in methods or store.methods:
        by_task = {task: store.runs_of(task, method) for task in tasks}
        if all(by_task.values()) and mean_by_seed(by_task) is not None:
            runs[method] = by_task
    if not runs:
        return {}
    seeds = {method: len(mean_by_seed(by_task) or {}) for method, by_task in runs.items()}
    # One run may be the highest by luck and cannot be tested, so it is not the best where others have several.
    ranked = {method: _mean(runs[method]) for method in runs if seeds[method] > 1} or {
        method: _mean(by_task) for method, by_task in runs.items()
    }
    best = max(ranked, key=lambda method: ranked[method])
    tested: dict[str, float] = {}
    found = {best: Standing(method=best, best=True)}
    for method in runs:
        if method == best:
            continue
        if seeds[method] == 1 and seeds[best] > 1:
            found[method] = Standing(
                method=method, best=False, reason="it has one seed, so it is neither ranked nor tested"
            )
            continue
        outcome = paired_over_tasks(runs[best], runs[method])
        if isinstance(outcome, str):
            found[method] = Standing(method=method, best=False, reason=outcome)
        else:
            tested[method] = outcome.probability
    for (method, probability), adjusted in zip(tested.items(), holm(tuple(tested.values())), strict=True):
        found[method] = Standing(method=method, best=False, probability=probability, adjusted=adjusted)
    return found


def mean_by_seed(runs: Mapping[str, Sequence[Run]]) -> dict[int, float] | None:
    """Return the score averaged over tasks for each seed that all of them have; None without one or with a hole."""
    seeds = set.intersection(*({run.seed for run in found} for found in runs.values()))
    by_task = [{run.seed: number(run.row, "score") for run in found} for found in runs.values()]
    means = {}
    for seed in sorted(seeds):
        scores = [score for task in by_task if (score := task[seed]) is not None]
        if len(scores) < len(by_task):
            return None
        means[seed] = sum(scores) / len(scores)
    return means or None


def _mean(runs: Mapping[str, Sequence[Run]]) -> float:
    found = mean_by_seed(runs)
    return estimate(tuple((found or {}).values())).mean
