"""The words say what the intervals allow, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reports.comparison import ComparisonRow, build_comparison
from reports.sharpness import build_sharpness
from reports.statistics import Estimate, Interval, PairedDifference
from reports.store import load_store
from reports.summary import cost_sentence, scope, sharpness_sentences, verdicts

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def row(low: float, high: float, *, seeds: int = 1) -> ComparisonRow:
    interval = Interval(low=low, high=high, level=0.95, resamples=10_000, seeds=seeds, examples=512)
    return ComparisonRow(
        task=TASK,
        metric="exact match",
        method="bilora",
        is_baseline=False,
        seeds=tuple(range(seeds)),
        score_interval=interval,
        difference=PairedDifference(difference=(low + high) / 2, interval=interval),
        values={"score": Estimate(mean=0.5, standard_error=None, count=seeds)},
        reasons={},
    )


@pytest.mark.parametrize(
    ("found", "word", "ending"),
    [
        (row(-0.01, 0.03), "not distinguishable", "+1.0 points against LoRA (95 % interval −1.0 to +3.0): "
         "not distinguishable from LoRA."),
        (row(0.0, 0.03), "not distinguishable", "not distinguishable from LoRA."),
        (row(0.01, 0.03), "higher", "higher than LoRA on these test examples, with this one seed."),
        (row(-0.03, -0.01), "lower", "lower than LoRA on these test examples, with this one seed."),
        (row(0.01, 0.03, seeds=3), "higher", "higher than LoRA on these seeds, which are too few to call it settled."),
        (row(0.01, 0.03, seeds=6), "higher", "(95 % interval +1.0 to +3.0, six shared seeds): higher than LoRA."),
    ],
)  # fmt: skip
def test_verdicts_are_never_stronger_than_the_interval(found: ComparisonRow, word: str, ending: str) -> None:
    (verdict,) = verdicts([found], "lora")
    assert verdict.word == word
    assert verdict.sentence.endswith(ending)


def test_one_seed_is_said_plainly() -> None:
    text = scope([row(0.01, 0.03)])
    assert text.startswith("One seed: the intervals cover the 512 test examples only, not seeds.")


def test_few_seeds_are_said_to_be_few() -> None:
    assert "about 75 % of the time (six seeds are needed)" in scope([row(0.0, 0.1, seeds=3)])
    assert scope([row(0.0, 0.1, seeds=6)]) == (
        "The intervals cover six seeds and 512 test examples, resampled together."
    )
    assert "at least three seeds" in scope([row(0.0, 0.1, seeds=3), row(0.0, 0.1, seeds=4)])


def test_a_missing_method_is_no_result(make_store: MakeStore) -> None:
    rows = build_comparison(load_store(make_store(failed=("bilora", "lora-sam"))), TASK)
    assert [verdict.word for verdict in verdicts(rows, "lora")] == ["no result"] * 2
    assert verdicts(rows, "lora")[1].sentence == (
        "Bi-LoRA cannot be compared with LoRA: failed in train: loss became NaN at step 40."
    )
    assert scope(rows) == "No method could be paired with the baseline, so there is no interval."
    assert cost_sentence(rows, "lora") == ""


def test_cost_and_curvature_are_listed_with_their_numbers(one_seed: Path) -> None:
    store = load_store(one_seed)
    assert cost_sentence(build_comparison(store, TASK), "lora") == (
        "One optimizer step takes, relative to LoRA: 1.97× with LoRA-SAM, 1.14× with Bi-LoRA."
    )
    assert sharpness_sentences(build_sharpness(store, TASK))[0] == (
        "Full space (merged W): largest Hessian eigenvalue LoRA 14.2, LoRA-SAM 9.10, Bi-LoRA 7.60. "
        "One run each, so these differences carry no interval."
    )


def test_curvature_over_seeds_has_its_standard_error(three_seeds: Path) -> None:
    text = sharpness_sentences(build_sharpness(load_store(three_seeds), TASK))[0]
    assert "LoRA 14.6 ± 0.25" in text
    assert "no interval" not in text
