"""What the Bi-LoRA paper printed (arXiv 2508.19564), see `reports.published_file`, beside what these runs measured.

A comparison that was made from a preset names the published rows that its runs stand beside, and which measurement is
meant: the task's own score, that score under a step along the gradient, the time of a step, peak memory, or a score of
the lm-evaluation-harness that lies beside the run. A number that either side has not is a hole with its reason; nothing
is filled in from anywhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.fields import Record, mapping, number, sequence, text
from reports.harness import whole_score
from reports.published_file import PublishedNumber, published_numbers
from reports.runs import Run
from reports.statistics import Estimate, estimate
from reports.store import Store

#: Measurements that are a field of a run's row -> the field, and how many of its units make one of the paper's.
_FIELDS: dict[str, tuple[str, float]] = {
    "score": ("score", 0.01),
    "step-time": ("step_seconds", 1.0),
    "peak-memory": ("peak_memory_bytes", 1e9),
}
#: Metrics that CLIP gives -> the field of a run's row, and why it is not there.
_CLIP: dict[str, tuple[str, str]] = {
    "clip-i2t": ("I2T_score", "no CLIP model has scored the pictures of run {key}; one is given by --clip-model"),
    "clip-t2t": (
        "T2T_score",
        "CLIP compares texts for it, and no model has captioned the pictures of run {key}; one is given by "
        "--caption-model, beside --clip-model",
    ),
}
#: Measurements that a comparison does not make -> where they come from.
_ELSEWHERE = {
    "judge": "the answers are to be judged by a judge of one's own, which has not been done in this store",
}
#: How `published.csv` names a point of a robustness curve: the length of the step and the space.
_ATTACK = re.compile(r"alpha=(?P<alpha>[0-9.]+) in (?P<space>\w+) space")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One published number beside one measured; either is None where `reasons` says why."""

    table: str
    model: str
    task: str
    metric: str
    method: str
    unit: str
    published: PublishedNumber | None
    measured: Estimate | None
    #: `published`, `measured` -> why it is not there.
    reasons: Mapping[str, str]

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        if self.published is None or self.measured is None:
            return None
        return self.measured.mean - self.published.value

    @property
    def difference_error(self) -> float | None:
        """Standard error of the difference; None where either side has none."""
        if self.published is None or self.measured is None:
            return None
        own, theirs = self.measured.standard_error, self.published.standard_error
        return None if own is None or theirs is None else math.hypot(own, theirs)


def build_published(store: Store, task: str) -> tuple[Pair, ...]:
    """Return published beside measured numbers for the runs of one task, in the preset's order; empty without one."""
    names = mapping(store.preset, "names")
    pairs: list[Pair] = []
    for entry in sequence(store.preset, "published"):
        if not isinstance(entry, dict) or text(entry, "run") != task:
            continue
        found = _numbers(entry)
        for metric, unit in dict.fromkeys((row.metric, row.unit) for row in found):
            by_method = {row.method: row for row in found if row.metric == metric}
            pairs += [
                _pair(store, entry, metric, unit, method, by_method.get(_published_name(method, names)))
                for method in store.methods
            ]
    return tuple(pairs)


def _numbers(entry: Record) -> list[PublishedNumber]:
    wanted = text(entry, "metric")
    place = (text(entry, "table"), text(entry, "model"), text(entry, "task"))
    return [
        row for row in published_numbers() if (row.table, row.model, row.task) == place and wanted in ("", row.metric)
    ]


def _published_name(method: str, names: Mapping[str, object]) -> str:
    # A variant trained as LoRA trains its own has the variant's name alone in the paper.
    return str(names.get(method, method.removesuffix("+lora")))


def _pair(store: Store, entry: Record, metric: str, unit: str, method: str, published: PublishedNumber | None) -> Pair:
    measured, reason = _measured(store, entry, metric, method)
    reasons = {}
    if published is None:
        reasons["published"] = "the paper prints no number for this method here"
    if measured is None:
        reasons["measured"] = reason
    return Pair(
        table=text(entry, "table"),
        model=text(entry, "model"),
        task=text(entry, "task"),
        metric=metric,
        method=method,
        unit=unit,
        published=published,
        measured=measured,
        reasons=reasons,
    )


def _measured(store: Store, entry: Record, metric: str, method: str) -> tuple[Estimate | None, str]:
    """Return the mean over seeds on the paper's scale, or None and why."""
    kind, task = text(entry, "measured"), text(entry, "run")
    runs = store.runs_of(task, method)
    if not runs:
        return None, store.why_no_run(task, method)
    if kind in _FIELDS:
        name, unit = _FIELDS[kind]
        return _mean(runs, lambda run: _scaled(number(run.row, name), unit), lambda run: run.why_missing(name))
    if kind == "clip" and text(entry, "metric") in _CLIP:
        name, missing = _CLIP[text(entry, "metric")]
        return _mean(
            runs,
            lambda run: _scaled(number(run.row, name), 0.01),
            lambda run: missing.format(key=run.key),
        )
    if kind == "lm-eval":
        scored = text(entry, "task")
        return _mean(
            runs,
            lambda run: _scaled(whole_score(run.row, scored), 0.01),
            lambda run: f"run {run.key} has not been scored on all of {scored} (--score {scored})",
        )
    if kind == "robustness":
        return _mean(
            runs,
            lambda run: _scaled(_under_attack(run, metric), 0.01),
            lambda run: f"run {run.key} has no robustness curve with a score there (--landscape robustness)",
        )
    return None, _ELSEWHERE.get(kind, f"{kind!r} is no measurement that this version reads")


def _under_attack(run: Run, metric: str) -> float | None:
    """Return a run's score after the step along the gradient that the metric names; None where it was not taken."""
    named = _ATTACK.search(metric)
    space = run.space(named["space"]) if named else None
    if named is None or space is None or space.robustness is None:
        return None
    taken = dict(zip(space.robustness.alphas, space.robustness.scores, strict=False))
    score = taken.get(float(named["alpha"]))
    return score if score is not None and math.isfinite(score) else None


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _mean(
    runs: tuple[Run, ...], value_of: Callable[[Run], float | None], why: Callable[[Run], str]
) -> tuple[Estimate | None, str]:
    found = [(run, value_of(run)) for run in runs]
    missing = [run for run, value in found if value is None]
    # As everywhere in the report: no mean over the seeds that happen to have the value.
    if missing:
        return None, why(missing[0])
    return estimate([value for _, value in found if value is not None]), ""
