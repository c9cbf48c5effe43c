"""The rows behind the comparison table: one for each task and method, as plain numbers.

Each field is an estimate over seeds with its standard error, or None with the reason in `reasons`. A difference to
the baseline exists only where both methods answered the same test examples with the same seeds; anything else
is a hole, not an unpaired guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from reports.fields import number, quotient
from reports.harness import harness_names
from reports.metric import Metric, read_metric
from reports.runs import Run
from reports.set_scores import Answered, Mean, MetricError, SetMetric, metric_of
from reports.statistics import (
    Estimate,
    Interval,
    PairedDifference,
    Scores,
    bootstrap_interval,
    estimate,
    paired_difference,
)
from reports.store import Store

#: Fields of a run's row that are averaged over seeds as they are.
AVERAGED = (
    "score",
    "train_score",
    "train_loss",
    "eval_loss",
    "generalization_gap",
    "step_seconds",
    "gradient_evaluations",
    "peak_memory_bytes",
    "perturbation_norm",
)


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One method on one task; scores and differences are fractions of one, costs relative to the baseline."""

    task: str
    metric: Metric
    method: str
    is_baseline: bool
    seeds: tuple[int, ...]
    score_interval: Interval | None
    difference: PairedDifference | None
    #: Field of `AVERAGED` or `harness`, part of the score, or `relative_cost` -> its estimate; absent where none.
    values: Mapping[str, Estimate]
    #: Field, `score_interval` or `difference` -> why it is not there.
    reasons: Mapping[str, str]
    #: Columns with scores of the lm-evaluation-harness, the same in all rows of a task.
    harness: tuple[str, ...] = ()


def build_comparison(store: Store, task: str) -> tuple[ComparisonRow, ...]:
    """Return one row for each method of the comparison, in its order."""
    baseline = store.runs_of(task, store.baseline)
    return tuple(_row(store, task, method, baseline) for method in store.methods_of(task))


def _row(store: Store, task: str, method: str, baseline: tuple[Run, ...]) -> ComparisonRow:
    runs = store.runs_of(task, method)
    is_baseline = method == store.baseline
    values: dict[str, Estimate] = {}
    reasons: dict[str, str] = {}
    metric = store.metric_of(task)
    harness = harness_names(run.row for run in store.runs if run.task == task)
    averaged = (*AVERAGED, "extra_memory_bytes", *metric.part_fields, *harness)
    for name in averaged:
        _average(name, runs, partial(_stored, name), values, reasons)
    if is_baseline:
        reasons["difference"] = "this is the baseline"
        _average("relative_cost", runs, lambda _: 1.0, values, reasons)
    else:
        by_seed = {run.seed: run for run in baseline}
        _average("relative_cost", runs, lambda run: _relative_cost(run, by_seed), values, reasons)
    interval = None
    scored = score_matrix(runs)
    if isinstance(scored, str):
        reasons["score_interval"] = scored
    else:
        interval = bootstrap_interval(scored[0], statistic=scored[1])
    difference = None if is_baseline else _difference(runs, baseline, reasons)
    if not runs:
        why = store.why_no_run(task, method)
        reasons = dict.fromkeys((*averaged, "relative_cost", "score_interval", "difference"), why)
    elif not baseline:
        why = f"the baseline {store.baseline} has no finished run: {store.why_no_run(task, store.baseline)}"
        reasons.update((name, why) for name in ("relative_cost", "difference") if name in reasons)
    return ComparisonRow(
        task=task,
        metric=metric,
        method=method,
        is_baseline=is_baseline,
        seeds=tuple(run.seed for run in runs),
        score_interval=interval,
        difference=difference,
        values=values,
        reasons=reasons,
        harness=harness,
    )


def _average(
    name: str,
    runs: tuple[Run, ...],
    value_of: Callable[[Run], float | None],
    values: dict[str, Estimate],
    reasons: dict[str, str],
) -> None:
    found = [value_of(run) for run in runs]
    missing = [run for run, value in zip(runs, found, strict=True) if value is None]
    # A mean over the seeds that happen to have the value would hide the ones that broke.
    if missing or not runs:
        reasons[name] = missing[0].why_missing(name) if missing else "no finished run"
    else:
        values[name] = estimate([value for value in found if value is not None])


def _stored(name: str, run: Run) -> float | None:
    return number(run.row, name)


def _relative_cost(run: Run, baseline: Mapping[int, Run]) -> float | None:
    partner = baseline.get(run.seed)
    if partner is None:
        return None
    # A cost in gradients, each timed beside its step, is free of what else the machine did during either run.
    for name in ("step_gradients", "step_seconds"):
        ratio = quotient(number(run.row, name), number(partner.row, name))
        if ratio is not None:
            return ratio
    return None


def score_matrix(runs: tuple[Run, ...]) -> tuple[Scores, SetMetric] | str:
    """Return what the metric takes of runs that answered the same examples, (seeds, examples), and it, or why not."""
    if not runs:
        return "no finished run"
    for run in runs:
        if not run.examples:
            return run.faults.get("examples.json", f"run {run.key} stored no scored examples")
        if run.identity != runs[0].identity:
            return f"runs {runs[0].key} and {run.key} did not answer the same test examples"
    try:
        metric = metric_of(read_metric(runs[0].row).name, [example.reference for example in runs[0].examples])
    except MetricError as error:
        return str(error)
    if isinstance(metric, Mean):
        return np.stack([run.scores for run in runs]), metric
    answers = (
        [Answered(score=e.score, reference=e.reference, generated=e.generated) for e in run.examples] for run in runs
    )
    return np.stack([metric.values(answered) for answered in answers]), metric


def _difference(runs: tuple[Run, ...], baseline: tuple[Run, ...], reasons: dict[str, str]) -> PairedDifference | None:
    own, theirs = ({run.seed: run for run in found} for found in (runs, baseline))
    shared = sorted(own.keys() & theirs.keys())
    if not shared:
        reasons["difference"] = "no seed was finished by both this method and the baseline"
        return None
    pair = tuple(found[seed] for found in (own, theirs) for seed in shared)
    scored = score_matrix(pair)
    if isinstance(scored, str):
        reasons["difference"] = scored
        return None
    scores, metric = scored
    return paired_difference(scores[: len(shared)], scores[len(shared) :], statistic=metric)
