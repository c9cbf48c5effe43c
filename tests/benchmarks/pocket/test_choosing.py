"""The answers of `choosing`, found again by the two oracles."""

from __future__ import annotations

import re
from collections import Counter

from benchmarks.pocket.curricula import T5_CURRICULA, Item, draw
from tests.benchmarks.pocket.grammaticality import is_grammatical
from tests.benchmarks.pocket.meaning import meaning


def items(count: int = 1_500) -> list[Item]:
    return [draw("choosing", T5_CURRICULA["choosing"], index) for index in range(count)]


def test_the_letters_are_those_of_the_right_sentences() -> None:
    asked: Counter[str] = Counter()
    for item in items():
        question, *lines = item.prompt.splitlines()
        shown = dict(line.split(": ", 1) for line in lines)
        assert "".join(shown) == "ABCDE"[: len(shown)]
        if question == "Well formed?":
            right = [letter for letter, text in shown.items() if is_grammatical(text)]
        else:
            given = meaning(question.removeprefix("The same as: "))
            right = [letter for letter, text in shown.items() if meaning(text) == given]
        assert item.completion == (", ".join(right) or "none"), item
        asked[question.split(":")[0]] += 1
    assert min(asked["Well formed?"], asked["The same as"]) > 600


def test_half_of_the_sentences_are_right_at_every_letter() -> None:
    shown: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for item in items():
        shown.update(re.findall(r"^([A-E]): ", item.prompt, re.MULTILINE))
        right.update(re.findall(r"[A-E]", item.completion))
    for letter, count in shown.items():
        assert abs(right[letter] / count - 0.5) < 0.08


def test_one_sentence_alone_is_never_judged() -> None:
    """That would be a task of the base."""
    assert all(item.prompt.count("\n") > 2 for item in items())
