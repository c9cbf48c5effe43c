"""Set scores against definitions of their own: correlations by numpy, resamples drawn and scored one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from reports.comparison import build_comparison
from reports.set_scores import MetricError, matthews_correlation, set_score
from reports.statistics import bootstrap_interval, paired_difference
from reports.store import load_store

METRIC = "Matthews correlation"
TASK = "pocket-math"
MakeStore = Callable[..., Path]


def judged(seed: int, *, right: float, count: int = 60) -> tuple[np.ndarray, list[str]]:
    """Draw zeros and ones, `right` of them ones on average, and references of two classes."""
    generator = np.random.default_rng(seed)
    return (generator.random(count) < right).astype(float), [("no", "yes")[k] for k in np.arange(count) % 3 // 2]


def correlation(scores: np.ndarray, references: list[str]) -> float:
    """Correlate true classes with predicted ones, by numpy; the other class was predicted where the answer is wrong."""
    truth = np.array([reference == "yes" for reference in references])
    predicted = np.where(scores == 1, truth, ~truth)
    if len(set(truth.tolist())) < 2 or len(set(predicted.tolist())) < 2:
        return 0.0
    return float(np.corrcoef(truth, predicted)[0, 1])


@pytest.mark.parametrize("right", [0.2, 0.5, 0.8])
def test_it_is_the_correlation_of_true_and_predicted_classes(right: float) -> None:
    scores, references = judged(1, right=right)
    assert set_score(METRIC, scores.tolist(), references) == pytest.approx(correlation(scores, references), abs=1e-12)


def test_its_ends_and_its_zero() -> None:
    references = ["yes", "no", "yes", "no"]
    assert set_score(METRIC, [1, 1, 1, 1], references) == 1.0
    assert set_score(METRIC, [0, 0, 0, 0], references) == -1.0
    # Always "yes", which as a mean would be one half.
    assert set_score(METRIC, [1, 0, 1, 0], references) == 0.0
    assert set_score(METRIC, [1, 1], ["yes", "yes"]) == 0.0
    assert set_score("accuracy", [1, 0, 1, 1], references) == 0.75


def test_more_than_two_classes_are_refused() -> None:
    with pytest.raises(MetricError, match="two classes, found 3"):
        set_score(METRIC, [1, 1, 1], ["a", "b", "c"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_its_interval_is_that_of_resamples_scored_one_by_one(seeds: int) -> None:
    runs = np.stack([judged(seed, right=0.8)[0] for seed in range(seeds)])
    references = judged(0, right=0.8)[1]
    found = bootstrap_interval(runs, statistic=matthews_correlation(references))
    generator = np.random.default_rng(7)
    values = []
    for _ in range(3_000):
        columns = generator.integers(60, size=60)
        rows = generator.integers(seeds, size=seeds)
        drawn = [references[column] for column in columns]
        values.append(np.mean([correlation(runs[row][columns], drawn) for row in rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.02)
    # The mean of the scores has another one.
    assert abs(bootstrap_interval(runs).low - found.low) > 0.05


def test_a_paired_difference_resamples_both_alike() -> None:
    scores, references = judged(0, right=0.7)
    better = scores.copy()
    better[np.flatnonzero(scores == 0)[:6]] = 1.0
    statistic = matthews_correlation(references)
    found = paired_difference(better[None], scores[None], statistic=statistic)
    assert found.difference == pytest.approx(correlation(better, references) - correlation(scores, references))
    generator = np.random.default_rng(11)
    values = []
    for _ in range(3_000):
        columns = generator.integers(60, size=60)
        drawn = [references[column] for column in columns]
        values.append(correlation(better[columns], drawn) - correlation(scores[columns], drawn))
    wanted = tuple(np.quantile(values, [0.025, 0.975]))
    assert (found.interval.low, found.interval.high) == pytest.approx(wanted, abs=0.02)
    assert found.distinguishable
    assert not paired_difference(scores[None], scores[None], statistic=statistic).distinguishable


def test_the_one_seed_interval_of_a_perfect_classifier_is_a_point() -> None:
    references = judged(0, right=1.0)[1]
    found = bootstrap_interval(np.ones((1, 60)), statistic=matthews_correlation(references))
    assert (found.low, found.high) == (1.0, 1.0)


def edit(folder: Path, method: str, references: list[str]) -> list[float]:
    """Make a stored run one of a judging task; returns its scores."""
    run = folder / "runs" / f"{method}-{TASK}-s0"
    record = json.loads((run / "run.json").read_text())
    examples: list[dict[str, Any]] = json.loads((run / "examples.json").read_text())
    for example, reference in zip(examples, references, strict=False):
        example["reference"] = reference
    (run / "examples.json").write_text(json.dumps(examples))
    scores = [example["score"] for example in examples]
    found = correlation(np.array(scores), [example["reference"] for example in examples])
    record["row"] |= {"metric": METRIC, "score": found}
    (run / "run.json").write_text(json.dumps(record))
    return scores


def test_a_report_takes_the_metric_that_a_run_names(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0,))
    references = ["yes", "no"] * 1_000
    scores = {method: edit(folder, method, references) for method in ("lora", "bilora")}
    rows = {row.method: row for row in build_comparison(load_store(folder), TASK)}
    row = rows["bilora"]
    values = {name: np.array(found) for name, found in scores.items()}
    truth = references[: len(scores["lora"])]
    wanted = correlation(values["bilora"], truth) - correlation(values["lora"], truth)
    assert row.metric.name == METRIC
    assert row.difference is not None
    assert row.difference.difference == pytest.approx(wanted)
    assert row.score_interval is not None
    assert row.score_interval.low < row.values["score"].mean < row.score_interval.high
    # Three classes: a hole with its reason, and not a number of another metric.
    edit(folder, "bilora", ["a", "b", "c"] * 1_000)
    row = next(row for row in build_comparison(load_store(folder), TASK) if row.method == "bilora")
    assert row.score_interval is None
    assert "two classes, found 3" in row.reasons["score_interval"]


def test_the_mean_is_the_mean() -> None:
    scores, references = judged(2, right=0.6)
    assert set_score("pass@1", scores.tolist(), references) == pytest.approx(scipy.stats.tmean(scores))
