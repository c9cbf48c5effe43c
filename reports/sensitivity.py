"""How a method's score depends on an option: the points behind Figure 6 of the Bi-LoRA paper (arXiv 2508.19564).

A point is a setting that differs from the method's main one on that task in this option alone. All points of a curve
are means over the seeds that every one of them has, so that the curve does not move with which seeds were finished;
intervals are Student's over these seeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports.crossed import mean_interval
from reports.fields import mapping, number
from reports.runs import Run
from reports.settings import by_setting, setting_of
from reports.statistics import StatisticsError
from reports.store import Store

#: Options that are drawn -> what their axis says, in the order of the paper's panels.
OPTIONS = {"auxiliary_rank": "rank of the auxiliary", "rho": "radius ρ"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """The mean score at one value of the option, a share of full marks; bounds are None for a single seed."""

    value: float
    score: float
    low: float | None
    high: float | None
    seeds: int


def sensitivity(store: Store, method: str, option: str) -> dict[str, tuple[Point, ...]]:
    """Return task -> points by value, for the tasks on which the method was trained at two values or more."""
    curves = {}
    for task in store.tasks:
        main = store.runs_of(task, method)
        others = [run for run in store.others if run.task == task and run.method == method]
        groups = _alike(main, others, option) if main else {}
        seeds = set.intersection(*({run.seed for run in runs} for runs in groups.values())) if groups else set()
        if len(groups) > 1 and seeds:
            points = (_point(value, [run for run in groups[value] if run.seed in seeds]) for value in sorted(groups))
            curves[task] = tuple(point for point in points if point is not None)
    return {task: points for task, points in curves.items() if len(points) > 1}


def _alike(main: tuple[Run, ...], others: Iterable[Run], option: str) -> dict[float, tuple[Run, ...]]:
    """Return value -> runs of the main setting and of those that differ from it in the option alone."""
    reference = dict(setting_of(main[0]))
    groups: dict[float, tuple[Run, ...]] = {}
    for setting, runs in by_setting((*main, *others)).items():
        own = dict(setting)
        different = {name for name in {**own, **reference} if own.get(name) != reference.get(name)}
        value = _value(runs[0], option)
        if different <= {f"options.{option}"} and value is not None:
            groups[value] = runs
    return groups


def _value(run: Run, option: str) -> float | None:
    options = mapping(run.spec, "options")
    if option not in options:
        return None
    # An auxiliary without a rank of its own has the primary's.
    return number(run.spec, "rank") if options[option] is None and option.endswith("rank") else number(options, option)


def _point(value: float, runs: list[Run]) -> Point | None:
    scores = [score for run in runs if (score := number(run.row, "score")) is not None]
    if len(scores) < len(runs):
        return None
    try:
        found = mean_interval(scores)
    except StatisticsError:
        return Point(value=value, score=scores[0], low=None, high=None, seeds=1)
    return Point(value=value, score=found.value, low=found.low, high=found.high, seeds=len(scores))
