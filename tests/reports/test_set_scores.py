"""Set scores against definitions of their own: correlations by numpy, resamples drawn and scored one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.comparison import build_comparison
from reports.set_scores import Answered, MetricError, metric_of, set_score
from reports.statistics import bootstrap_interval, paired_difference
from reports.store import load_store

METRIC = "Matthews correlation"
TASK = "pocket-math"
MakeStore = Callable[..., Path]


def judged(seed: int, *, right: float, count: int = 60) -> list[Answered]:
    """Draw answers to examples of two classes, `right` of them right on average, a tenth naming no class."""
    generator = np.random.default_rng(seed)
    examples = []
    for index in range(count):
        reference, other = ("no", "yes")[:: 1 if index % 3 else -1]
        drawn = generator.random()
        answer = reference if drawn < right else other if drawn < 0.9 else "perhaps"
        examples.append(Answered(score=float(answer == reference), reference=reference, generated=f" {answer}"))
    return examples


def correlation(examples: Sequence[Answered]) -> float:
    """Correlate one-hot vectors of true and answered classes, by numpy's covariances."""
    names = ("no", "yes", "perhaps")
    truth, given = (
        np.array([[text.strip() == name for name in names] for text in texts], dtype=float)
        for texts in ([e.reference for e in examples], [e.generated for e in examples])
    )

    def covariance(one: np.ndarray, other: np.ndarray) -> float:
        return sum(float(np.cov(one[:, k], other[:, k])[0, 1]) for k in range(3))

    spread = covariance(truth, truth) * covariance(given, given)
    return covariance(truth, given) / float(np.sqrt(spread)) if spread > 1e-15 else 0.0


def answers(given: str, references: str) -> list[Answered]:
    pairs = zip(given.split(), references.split(), strict=True)
    return [Answered(score=float(one == other), reference=other, generated=one) for one, other in pairs]


@pytest.mark.parametrize("right", [0.2, 0.5, 0.8])
def test_it_is_the_correlation_of_true_and_answered_classes(right: float) -> None:
    examples = judged(1, right=right)
    assert set_score(METRIC, examples) == pytest.approx(correlation(examples), abs=1e-12)
    named = [example for example in examples if example.generated != " perhaps"]
    truth, given = ([text.strip() == "yes" for text in texts] for texts in zip(*map(texts_of, named), strict=True))
    assert set_score(METRIC, named) == pytest.approx(np.corrcoef(truth, given)[0, 1], abs=1e-12)


def texts_of(example: Answered) -> tuple[str, str]:
    return example.reference, example.generated


def test_its_ends_and_its_zero() -> None:
    assert set_score(METRIC, answers("yes no yes no", "yes no yes no")) == 1.0
    assert set_score(METRIC, answers("no yes no yes", "yes no yes no")) == -1.0
    # Always "yes", which as a mean would be one half, and never a class.
    assert set_score(METRIC, answers("yes yes yes yes", "yes no yes no")) == 0.0
    assert set_score(METRIC, answers("x x x x", "yes no yes no")) == 0.0
    assert set_score(METRIC, answers("yes yes", "yes yes")) == 0.0
    assert set_score("accuracy", answers("yes yes yes no", "yes no yes no")) == 0.75


def test_more_than_two_classes_are_refused() -> None:
    with pytest.raises(MetricError, match="two classes, found 3"):
        set_score(METRIC, answers("a b c", "a b c"))


@pytest.mark.parametrize("seeds", [1, 3])
def test_its_interval_is_that_of_resamples_scored_one_by_one(seeds: int) -> None:
    runs = [judged(seed, right=0.8) for seed in range(seeds)]
    metric = metric_of(METRIC, [example.reference for example in runs[0]])
    found = bootstrap_interval(np.stack([metric.values(run) for run in runs]), statistic=metric)
    generator = np.random.default_rng(7)
    values = []
    for _ in range(2_000):
        columns, rows = generator.integers(60, size=60), generator.integers(seeds, size=seeds)
        values.append(np.mean([correlation([runs[row][column] for column in columns]) for row in rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.025)


def test_a_paired_difference_resamples_both_alike() -> None:
    plain = judged(0, right=0.6)
    wrong = [index for index, example in enumerate(plain) if not example.score]
    better = [replace(e, score=1.0, generated=e.reference) if k in wrong[:8] else e for k, e in enumerate(plain)]
    metric = metric_of(METRIC, [example.reference for example in plain])
    both = [metric.values(run)[None] for run in (better, plain)]
    found = paired_difference(*both, statistic=metric)
    assert found.difference == pytest.approx(correlation(better) - correlation(plain))
    generator = np.random.default_rng(11)
    values = []
    for _ in range(2_000):
        columns = generator.integers(60, size=60)
        values.append(correlation([better[k] for k in columns]) - correlation([plain[k] for k in columns]))
    wanted = tuple(np.quantile(values, [0.025, 0.975]))
    assert (found.interval.low, found.interval.high) == pytest.approx(wanted, abs=0.025)
    assert found.distinguishable
    assert not paired_difference(both[1], both[1], statistic=metric).distinguishable


def test_the_one_seed_interval_of_a_perfect_classifier_is_a_point() -> None:
    perfect = answers("yes no no " * 20, "yes no no " * 20)
    metric = metric_of(METRIC, [example.reference for example in perfect])
    found = bootstrap_interval(metric.values(perfect)[None], statistic=metric)
    assert (found.low, found.high) == (1.0, 1.0)


def edit(folder: Path, method: str, classes: str) -> list[Answered]:
    """Make a stored run one of a judging task, with the scores it has; returns its answers."""
    run = folder / "runs" / f"{method}-{TASK}-s0"
    record = json.loads((run / "run.json").read_text())
    examples: list[dict[str, Any]] = json.loads((run / "examples.json").read_text())
    names = classes.split()
    for index, example in enumerate(examples):
        example["reference"] = names[index % len(names)]
        example["generated"] = names[(index + (example["score"] < 1)) % len(names)]
    (run / "examples.json").write_text(json.dumps(examples))
    answered = [Answered(score=e["score"], reference=e["reference"], generated=e["generated"]) for e in examples]
    record["row"] |= {"metric": METRIC, "score": correlation(answered)}
    (run / "run.json").write_text(json.dumps(record))
    return answered


def test_a_report_takes_the_metric_that_a_run_names(make_store: MakeStore) -> None:
    folder = make_store(seeds=(0,))
    answered = {method: edit(folder, method, "yes no") for method in ("lora", "bilora")}
    row = next(row for row in build_comparison(load_store(folder), TASK) if row.method == "bilora")
    assert row.metric.name == METRIC
    assert row.difference is not None
    assert row.difference.difference == pytest.approx(correlation(answered["bilora"]) - correlation(answered["lora"]))
    assert row.score_interval is not None
    assert row.score_interval.low < row.values["score"].mean < row.score_interval.high
    # Three classes: a hole with its reason, and not a number of another metric.
    edit(folder, "bilora", "a b c")
    row = next(row for row in build_comparison(load_store(folder), TASK) if row.method == "bilora")
    assert row.score_interval is None
    assert "two classes, found 3" in row.reasons["score_interval"]


@pytest.mark.parametrize("name", ["accuracy", "Matthews correlation"])
def test_scores_from_counts_are_those_of_the_drawn_examples(name: str) -> None:
    generator = np.random.default_rng(3)
    references = ["yes" if draw else "no" for draw in generator.integers(2, size=30)]
    metric = metric_of(name, references)
    values = generator.integers(3, size=(4, 30)).astype(float)
    columns = generator.integers(30, size=(50, 30))
    counts = np.stack([np.bincount(row, minlength=30) for row in columns]).astype(float)
    np.testing.assert_allclose(metric.weighted(values, counts), np.stack([metric(row, columns) for row in values], 1))
