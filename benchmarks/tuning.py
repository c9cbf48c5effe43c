"""The search of `--tune N`: every method's N trials on validation examples, and the setting that each goes on with.

Trials are runs of the ordinary kind in a store of their own (`OUT/tuning`), with a seed that no final run has, scored
on the validation split; the test split is not read. The best validation score wins, and of equal ones the earliest
trial, so that a setting is left only for a better one. A trial that fails is spent. The budget is the same number of
runs for all; what it costs in gradients differs, as the methods do, and is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.executors import Executor
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore
from benchmarks.trials import Trial, radius_option, trials

#: Far from the small consecutive seeds of final runs.
SEED = 1_000_003
FOLDER = "tuning"


@dataclass(frozen=True, kw_only=True)
class Search:
    """The trials of one method on one task, in their order."""

    method: str
    task: str
    trials: tuple[tuple[Trial, RunSpec], ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search found: the validation score of every trial, None where it failed, and the place of the best."""

    search: Search
    scores: tuple[float | None, ...]
    problems: tuple[str | None, ...]
    gradient_evaluations: float
    chosen: int

    @property
    def spec(self) -> RunSpec:
        """The run of the chosen trial."""
        return self.search.trials[self.chosen][1]

    @property
    def sentence(self) -> str:
        """The choice in one line."""
        name, score = radius_option(self.spec.method), self.scores[self.chosen]
        radius = "" if name is None else f", {name} {self.spec.options[name]:g}"
        found = "no trial was finished, so the default stays" if score is None else f"validation {score:.3f}"
        return (
            f"{self.search.method} on {self.search.task}: trial {self.chosen + 1} of {len(self.scores)}, learning rate "
            f"{self.spec.learning_rate:g}{radius} ({found})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        rows = zip(self.search.trials, self.scores, self.problems, strict=True)
        return {
            "method": self.search.method,
            "task": self.search.task,
            "radius_option": radius_option(self.spec.method),
            "runs": len(self.scores),
            "gradient_evaluations": self.gradient_evaluations,
            "chosen": self.chosen,
            "trials": [
                {
                    "key": spec.key,
                    "learning_rate": spec.learning_rate,
                    "radius": spec.options.get(radius_option(spec.method) or ""),
                    "score": score,
                    "problem": problem,
                }
                for (_, spec), score, problem in rows
            ],
        }


def tune(
    specs: Sequence[RunSpec],
    count: int,
    *,
    executor: Executor,
    model_folders: Mapping[str, Path],
    store: RunStore,
    console: Console,
    policy: CheckpointPolicy,
) -> list[Outcome]:
    """Carry out what is missing of the searches before the final runs `specs`, and choose.

    A trial that fails, by a rate that is too high for example, is spent and no failure of the comparison.
    """
    own = RunStore(store.folder / FOLDER)
    own.create()
    searches = plan_searches(specs, count)
    executor.run_all(
        [spec for search in searches for _, spec in search.trials],
        model_folders=model_folders,
        store=own,
        console=console,
        policy=policy,
    )
    outcomes = [outcome(search, own) for search in searches]
    for found in outcomes:
        console.print(found.sentence, highlight=False, soft_wrap=True)
    return outcomes


def plan_searches(specs: Sequence[RunSpec], count: int) -> list[Search]:
    """Return one search for each method on each task of the final runs."""
    firsts = {(spec.task, spec.label): spec for spec in reversed(specs)}
    ordered = dict.fromkeys((spec.task, spec.label) for spec in specs)
    return [
        Search(
            method=label,
            task=task,
            trials=tuple(
                (trial, _trial_run(firsts[task, label], trial)) for trial in trials(firsts[task, label].method, count)
            ),
        )
        for task, label in ordered
    ]


def _trial_run(spec: RunSpec, trial: Trial) -> RunSpec:
    return replace(
        _with_setting(spec, trial),
        seed=SEED,
        scored="validation",
        evaluations=0,
        measurement=None,
        dynamics=None,
    )


def _with_setting(spec: RunSpec, trial: Trial) -> RunSpec:
    rate = float(f"{spec.learning_rate * trial.rate_factor:.6g}")
    return replace(spec, learning_rate=rate, options=trial.options(spec.method, spec.options))


def outcome(search: Search, store: RunStore) -> Outcome:
    """Choose a setting from the trials that are finished; the default one if none is."""
    scores: list[float | None] = []
    problems: list[str | None] = []
    gradients = 0.0
    for _, spec in search.trials:
        if store.is_complete(spec.key):
            row = store.row(spec.key)
            gradients += row["gradient_evaluations"]
            scores.append(float(row["score"]))
            problems.append(None)
        else:
            scores.append(None)
            failure = store.failure(spec.key)
            problems.append("not finished" if failure is None else str(failure["message"]))
    return Outcome(
        search=search,
        scores=tuple(scores),
        problems=tuple(problems),
        gradient_evaluations=gradients,
        chosen=best(scores),
    )


def best(scores: Sequence[float | None]) -> int:
    """Return the place of the highest score, the first of equal ones; 0 where there is none."""
    places = range(len(scores))
    return max(places, key=lambda place: (scores[place] is not None, scores[place] or 0.0, -place))


def tuned(specs: Sequence[RunSpec], outcomes: Sequence[Outcome]) -> list[RunSpec]:
    """Return the final runs with the chosen settings."""
    chosen: Mapping[tuple[str, str], Trial] = {
        (found.search.task, found.search.method): found.search.trials[found.chosen][0] for found in outcomes
    }
    return [_with_setting(spec, chosen[spec.task, spec.label]) for spec in specs]


def plan_sentence(*, methods: int, tasks: int, seeds: int, count: int) -> str:
    """Return how many runs a tuned comparison means."""
    searched, final = methods * tasks * count, methods * tasks * seeds
    return (
        f"{searched} runs of tuning ({methods} methods x {tasks} tasks x {count} trials, scored on validation), then "
        f"{final} final runs ({seeds} seeds)"
    )
