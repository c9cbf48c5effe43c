"""The summary in words, made from the numbers and never stronger than their intervals.

A method is called better or worse than the baseline only if the interval of the paired difference excludes zero;
otherwise the text says that it is not distinguishable. What the interval covers, and how far few seeds can carry,
is said in the same breath. Curvature has no interval between runs, so it is listed, not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.comparison import ComparisonRow
from reports.quantities import ratio, significant, spoken, whole
from reports.sharpness import SharpnessRow
from reports.statistics import PairedDifference
from reports.style import method_label, space_label


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What can be said of one method against the baseline; bounds are fractions of one, None for a hole."""

    method: str
    label: str
    difference: float | None
    low: float | None
    high: float | None
    #: `higher`, `lower`, `not distinguishable` or `no result`.
    word: str
    sentence: str


def verdicts(rows: Sequence[ComparisonRow], baseline: str) -> tuple[Verdict, ...]:
    """Return one verdict for each method that is not the baseline."""
    several = any(len(row.seeds) > 1 for row in rows)
    return tuple(_verdict(row, method_label(baseline), several) for row in rows if not row.is_baseline)


def _verdict(row: ComparisonRow, baseline: str, several: bool) -> Verdict:
    label = method_label(row.method)
    score = row.values.get("score")
    if row.difference is None or score is None:
        reason = row.reasons.get("difference") or row.reasons["score"]
        sentence = f"{label} cannot be compared with {baseline}: {reason}."
        return Verdict(
            method=row.method,
            label=label,
            difference=None,
            low=None,
            high=None,
            word="no result",
            sentence=sentence,
        )
    pair, metric = row.difference, row.metric
    word = _word(pair)
    bounds = f"95 % interval {metric.difference(pair.interval.low)} to {metric.difference(pair.interval.high)}"
    if several:
        bounds += f", {spoken(pair.interval.seeds, 'shared seed')}"
    difference = f"{metric.difference(pair.difference)} points against {baseline}"
    lead = f"{label} scores {metric.full_mark(score.mean)}, {difference} ({bounds})"
    if word == "not distinguishable":
        sentence = f"{lead}: not distinguishable from {baseline}."
    elif pair.interval.coverage_limit is not None:
        sentence = f"{lead}: {word} than {baseline} on these seeds, which are too few to call it settled."
    else:
        limits = " on these test examples, with this one seed" if pair.interval.seeds == 1 else ""
        sentence = f"{lead}: {word} than {baseline}{limits}."
    return Verdict(
        method=row.method,
        label=label,
        difference=pair.difference,
        low=pair.interval.low,
        high=pair.interval.high,
        word=word,
        sentence=sentence,
    )


def _word(pair: PairedDifference) -> str:
    if not pair.distinguishable:
        return "not distinguishable"
    return "higher" if pair.difference > 0 else "lower"


def scope(rows: Sequence[ComparisonRow]) -> str:
    """Say what the intervals of a task cover, and what they do not."""
    differences = [row.difference for row in rows if row.difference is not None]
    if not differences:
        return "No method could be paired with the baseline, so there is no interval."
    fewest = min((pair.interval for pair in differences), key=lambda interval: interval.seeds)
    examples = f"{whole(fewest.examples)} test examples"
    if fewest.seeds == 1:
        return (
            f"One seed: the intervals cover the {examples} only, not seeds. "
            f"Another training seed could move every score by more than they show."
        )
    equal = all(pair.interval.seeds == fewest.seeds for pair in differences)
    seeds = spoken(fewest.seeds, "seed") if equal else f"at least {spoken(fewest.seeds, 'seed')}"
    text = f"The intervals cover {seeds} and {examples}, resampled together."
    if fewest.coverage_limit is None:
        return text
    return (
        f"{text} So few seeds cannot carry 95 %: where differences between seeds dominate, such an interval "
        f"covers the truth about {100 * fewest.coverage_limit:.0f} % of the time (six seeds are needed)."
    )


def cost_sentence(rows: Sequence[ComparisonRow], baseline: str) -> str:
    """Say what a step costs relative to the baseline; empty where no cost was recorded."""
    costs = [
        f"{ratio(row.values['relative_cost'].mean)} with {method_label(row.method)}"
        for row in rows
        if not row.is_baseline and "relative_cost" in row.values
    ]
    if not costs:
        return ""
    return f"One optimizer step takes, relative to {method_label(baseline)}: {', '.join(costs)}."


def sharpness_sentences(rows: Sequence[SharpnessRow]) -> tuple[str, ...]:
    """List the largest Hessian eigenvalue by method, one sentence for each space."""
    sentences = []
    for space in dict.fromkeys(row.space for row in rows):
        found = [row for row in rows if row.space == space and "lambda_max" in row.values]
        values = [f"{method_label(row.method)} {_with_error(row)}" for row in found]
        if not values:
            continue
        single = all(len(row.seeds) == 1 for row in found)
        ending = " One run each, so these differences carry no interval." if single else ""
        sentences.append(f"{space_label(space)}: largest Hessian eigenvalue {', '.join(values)}.{ending}")
    return tuple(sentences)


def _with_error(row: SharpnessRow) -> str:
    found = row.values["lambda_max"]
    error = f" ± {significant(found.standard_error, 2)}" if found.standard_error is not None else ""
    return significant(found.mean) + error + ("" if row.converged else " (not converged)")
