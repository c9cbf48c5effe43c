"""What finished runs say: scores that are paired over seeds and examples, and single numbers of every run.

A question is answered from all of its runs or not at all: with a run missing, the mean over the seeds that happen to be
there could hide the ones that broke.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.claims.scope import Arm, Scope
from benchmarks.claims.verdict import Missing, Question
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from reports.comparison import score_matrix
from reports.crossed import Contrast, Measured, contrast_interval, mean_interval
from reports.fields import RunStoreError
from reports.run_folder import load_run
from reports.runs import Run
from reports.statistics import StatisticsError

#: Differences of scores are shown in points of a scale of 100.
POINTS = 100.0


class Evidence:
    """The finished runs of a board.

    Args:
        scope: What was planned.
        store: Where it is kept.
    """

    def __init__(self, scope: Scope, store: RunStore) -> None:
        self.scope = scope
        self.store = store
        self._loaded: dict[str, Run] = {}

    @property
    def machines(self) -> list[str]:
        """Names of the devices on which the runs that answered something were made."""
        return sorted({str(run.environment.get("device", "unknown")) for run in self._loaded.values()})

    def keys(self, question: Question) -> tuple[str, ...]:
        """Return the keys of the finished runs behind a question."""
        return tuple(spec.key for spec in self._planned(question) if self.store.is_complete(spec.key))

    def devices(self, question: Question) -> tuple[str, ...]:
        """Return the kinds of device that a question's runs are made on."""
        return tuple(sorted({spec.device for spec in self._planned(question)}))

    def _planned(self, question: Question) -> list[RunSpec]:
        found: list[RunSpec] = []
        for task in question.tasks:
            for arm in question.arms:
                with suppress(Missing):
                    found += self.scope.specs(arm, task)
        return found

    def runs(self, arm: Arm, task: str) -> list[Run]:
        """Return the runs of an arm on a task, by seed.

        Raises:
            Missing: If one is not there, with the reason.
        """
        return [self._run(spec.key) for spec in self.scope.specs(arm, task)]

    def _run(self, key: str) -> Run:
        if key not in self._loaded:
            if not self.store.is_complete(key):
                raise Missing(self._why_not(key))
            try:
                self._loaded[key] = load_run(self.store.runs / key)
            except RunStoreError as fault:
                raise Missing(f"run {key}: {fault}") from None
        return self._loaded[key]

    def _why_not(self, key: str) -> str:
        failure = self.store.failure(key)
        if failure is None:
            return f"run {key} is not finished; the same command goes on"
        return f"run {key} failed ({failure['stage']}): {failure['message']}"

    def file(self, run: Run, name: str) -> Path:
        """Return a file of a run's folder."""
        return self.store.runs / run.key / name

    def contrast(self, terms: Sequence[tuple[float, Arm]], tasks: Sequence[str]) -> Measured:
        """Return a weighted sum of scores, in points, averaged over tasks; see `reports.crossed`.

        Raises:
            Missing: If a run is missing, or the scores have no interval.
        """
        try:
            found = contrast_interval([self._contrast(terms, task) for task in tasks])
        except StatisticsError as error:
            raise Missing(str(error)) from None
        return found.scaled(POINTS)

    def _contrast(self, terms: Sequence[tuple[float, Arm]], task: str) -> Contrast:
        runs = [run for _, arm in terms for run in self.runs(arm, task)]
        scored = score_matrix(tuple(runs))
        if isinstance(scored, str):
            raise Missing(scored)
        parts = np.split(scored[0], len(terms))
        weighted = zip((weight for weight, _ in terms), parts, strict=True)
        return Contrast(terms=tuple(weighted), statistic=scored[1])

    def mean(self, arm: Arm, tasks: Sequence[str], value: Callable[[Run], float]) -> Measured:
        """Return the mean over tasks and seeds of a number of every run, with the t interval over seeds.

        Raises:
            Missing: If a run or its number is missing.
        """
        by_task = [[value(run) for run in self.runs(arm, task)] for task in tasks]
        try:
            return mean_interval([float(np.mean(seed)) for seed in zip(*by_task, strict=True)])
        except StatisticsError as error:
            raise Missing(str(error)) from None

    def geometric_mean(self, arm: Arm, tasks: Sequence[str], value: Callable[[Run], float]) -> Measured:
        """Return `mean` of logarithms, and its interval, as numbers again."""
        return self.mean(arm, tasks, lambda run: _log(value(run), run)).exponential()

    def ratio(self, arm: Arm, baseline: Arm, tasks: Sequence[str], value: Callable[[Run], float]) -> Measured:
        """Return the ratio of a positive number of paired runs: the geometric mean over tasks and seeds.

        Raises:
            Missing: If a run or its number is missing, or is not positive.
        """
        partners = {
            run.key: other
            for task in tasks
            for run, other in zip(self.runs(arm, task), self.runs(baseline, task), strict=True)
        }

        def log_ratio(run: Run) -> float:
            other = partners[run.key]
            return _log(value(run), run) - _log(value(other), other)

        return self.mean(arm, tasks, log_ratio).exponential()


def _log(value: float, run: Run) -> float:
    if not value > 0.0:
        raise Missing(f"a ratio needs positive numbers, and run {run.key} has {value:.3g}")
    return math.log(value)
