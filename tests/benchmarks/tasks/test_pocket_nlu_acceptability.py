from __future__ import annotations

import re
from random import Random

import pytest

from benchmarks.pocket.curricula import T5_TOKEN_SHARES
from benchmarks.pocket.curricula.reserved import is_reserved
from benchmarks.pocket.pairs import item
from benchmarks.scoring import ScoredExample, task_score
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_nlu_acceptability import ACCEPTABLE, SIZES, UNACCEPTABLE, PocketNluAcceptability, generate
from tests.benchmarks.pocket.grammaticality import is_grammatical

TASK = PocketNluAcceptability()
FINGERPRINT = "2240dd34403d127a"


def sentence(example: Example) -> str:
    match = re.fullmatch(r"Sentence: (.+)\nJudgement:", example.prompt)
    assert match
    return match[1]


def test_labels_are_true_of_all_examples() -> None:
    for split in SPLITS:
        for example in TASK.examples(split):
            assert (example.completion == ACCEPTABLE) == is_grammatical(sentence(example)), example


def test_labels_are_true_of_any_draw() -> None:
    for draw in range(3_000):
        example = generate(Random(f"any/{draw}"))
        assert (example.completion == ACCEPTABLE) == is_grammatical(sentence(example)), example


def test_splits_are_balanced_and_share_no_sentence() -> None:
    seen: set[str] = set()
    for split in SPLITS:
        examples = TASK.examples(split)
        assert len(examples) == SIZES[split]
        assert sum(example.completion == ACCEPTABLE for example in examples) * 2 == len(examples)
        assert sum(example.completion == ACCEPTABLE for example in examples[:16]) == 8
        sentences = {sentence(example) for example in examples}
        assert len(sentences) == len(examples)
        assert not sentences & seen
        seen |= sentences


def test_examples_are_the_recorded_ones_on_any_machine() -> None:
    assert TASK.fingerprint() == FINGERPRINT


def test_the_base_has_met_neither_the_sentences_nor_the_format() -> None:
    """None of its texts asks for a judgement or gives one, and its sentences are other ones by their checksums."""
    texts = [item(source, index, seed=0).text for source in T5_TOKEN_SHARES for index in range(1_500)]
    everything = "\n".join(texts)
    assert not re.search(r"\b(un)?acceptable\b|Judgement|Sentence:", everything)
    sentences = {sentence(example) for split in SPLITS for example in TASK.examples(split)}
    assert all(map(is_reserved, sentences))
    assert not any(text in everything for text in sentences)


@pytest.mark.parametrize(
    ("generated", "score"),
    [(" acceptable", 1.0), ("acceptable", 1.0), (UNACCEPTABLE, 0.0), (" acceptable acceptable", 0.0), ("", 0.0)],
)
def test_only_the_right_word_counts(generated: str, score: float) -> None:
    assert TASK.score(Example(prompt="", completion=ACCEPTABLE), generated) == score


def test_constant_answers_score_nothing_and_perfect_ones_everything() -> None:
    examples = TASK.examples("test")
    for given, wanted in (
        ([ACCEPTABLE] * len(examples), 0.0),
        (["no class at all"] * len(examples), 0.0),
        ([example.completion for example in examples], 1.0),
    ):
        scored = [
            ScoredExample(
                index=k, prompt=e.prompt, reference=e.completion, generated=text, score=score, turn_scores=(score,)
            )
            for k, (e, text) in enumerate(zip(examples, given, strict=True))
            for score in [TASK.score(e, text)]
        ]
        assert task_score(TASK, scored) == wanted
