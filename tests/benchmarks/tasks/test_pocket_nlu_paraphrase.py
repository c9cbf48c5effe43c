from __future__ import annotations

import re
from collections import Counter
from random import Random

from benchmarks.pocket.curricula import T5_TOKEN_SHARES
from benchmarks.pocket.curricula.reserved import is_reserved
from benchmarks.pocket.pairs import item
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_nlu_paraphrase import EQUIVALENT, SIZES, PocketNluParaphrase, generate
from tests.benchmarks.pocket.meaning import meaning

TASK = PocketNluParaphrase()
FINGERPRINT = "c87b18804b877307"


def sentences(example: Example) -> tuple[str, str]:
    match = re.fullmatch(r"First: (.+)\nSecond: (.+)\nJudgement:", example.prompt)
    assert match
    return match[1], match[2]


def test_labels_are_true_of_all_examples() -> None:
    for split in SPLITS:
        for example in TASK.examples(split):
            first, second = sentences(example)
            assert first != second
            assert (example.completion == EQUIVALENT) == (meaning(first) == meaning(second)), example


def test_labels_are_true_of_any_draw() -> None:
    for draw in range(4_000):
        example = generate(Random(f"any/{draw}"))
        first, second = sentences(example)
        assert (example.completion == EQUIVALENT) == (meaning(first) == meaning(second)), example


def test_common_words_do_not_tell_the_answer() -> None:
    """The best threshold on the share of common words is right little more often than a constant answer."""
    shares = []
    for split in SPLITS:
        for example in TASK.examples(split):
            one, other = (set(re.findall(r"\w+", text.lower())) for text in sentences(example))
            shares.append((len(one & other) / len(one | other), example.completion == EQUIVALENT))
    best = 0.0
    for threshold in {share for share, _ in shares}:
        right = sum((share >= threshold) == same for share, same in shares) / len(shares)
        best = max(best, right, 1 - right)
    assert best < 0.65


def test_splits_are_balanced_and_share_no_sentence() -> None:
    counted: Counter[str] = Counter()
    for split in SPLITS:
        examples = TASK.examples(split)
        assert len(examples) == SIZES[split]
        assert sum(example.completion == EQUIVALENT for example in examples) * 2 == len(examples)
        counted.update(text for example in examples for text in sentences(example))
    assert set(counted.values()) == {1}


def test_examples_are_the_recorded_ones_on_any_machine() -> None:
    assert TASK.fingerprint() == FINGERPRINT


def test_the_base_has_met_neither_the_sentences_nor_the_format() -> None:
    """None of its texts asks for a judgement of two, and its sentences are other ones by their checksums."""
    texts = [item(source, index, seed=0).text for source in T5_TOKEN_SHARES for index in range(1_500)]
    everything = "\n".join(texts)
    assert not re.search(r"\bequivalent\b|Judgement|First: |Second: ", everything)
    shown = {text for split in SPLITS for example in TASK.examples(split) for text in sentences(example)}
    assert all(map(is_reserved, shown))
    assert not [text for text in shown if text in everything]


def test_a_constant_answer_is_right_half_of_the_time() -> None:
    examples = TASK.examples("test")
    assert sum(TASK.scores(examples, [EQUIVALENT] * len(examples))) == len(examples) / 2
