from __future__ import annotations

import re
from random import Random

import pytest
from transformers import AutoTokenizer

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.curricula import CURRICULA, draw
from benchmarks.tasks import pocket_instruct
from benchmarks.tasks.base import SPLITS
from benchmarks.tasks.pocket_instruct import Instruction, PocketInstruct, Requirements

TASK = PocketInstruct()
ALL = [example for split in SPLITS for example in TASK.examples(split) if isinstance(example, Instruction)]
WORDS = ("red", "blue", "pink")
PLAIN = Requirements(words=WORDS, number=2)
STRICT = Requirements(words=WORDS, number=2, backwards=True, case="upper", ends=("", "."))


def test_splits_have_their_sizes_and_share_no_words_and_no_answer() -> None:
    assert {split: len(TASK.examples(split)) for split in SPLITS} == pocket_instruct.SIZES
    assert len(ALL) == sum(pocket_instruct.SIZES.values())
    assert len({example.requirements.words for example in ALL}) == len(ALL)
    assert len({example.completion for example in ALL}) == len(ALL)


def test_references_hold_everywhere() -> None:
    assert {TASK.score(example, example.completion) for example in ALL} == {1.0}


def test_instructions_say_their_requirements_and_two_or_three_of_them() -> None:
    """Read the requirements back from the sentence by its own tables."""
    for example in ALL:
        request, *said = re.split(r", ", example.prompt.removeprefix("Instruction: ").removesuffix(".\nResponse:"))
        wanted = example.requirements
        assert len(said) in (2, 3)
        assert tuple(request.split()[-3:]) == wanted.words
        assert (" two of " in request or wanted.excluded is not None) == (wanted.number == 2)
        found: dict[str, object] = {}
        for phrase in said:
            (new,) = _readings(phrase, wanted.words)
            assert new[0] not in found
            found[new[0]] = new[1]
        none = {"excluded": None, "backwards": False, "case": None, "separator": None, "ends": None}
        assert {name: getattr(wanted, name) for name in none} == none | found


def _readings(phrase: str, words: tuple[str, ...]) -> list[tuple[str, object]]:
    tables: list[tuple[str, dict[object, tuple[str, ...]]]] = [
        ("excluded", {w: tuple(p.format(word=w) for p in pocket_instruct.EXCLUDED) for w in words}),
        ("backwards", {True: (pocket_instruct.BACKWARDS,)}),
        ("case", {**pocket_instruct.CASES}),
        ("separator", {mark: tuple(p.format(mark=name) for p in pocket_instruct.SEPARATED)
                       for mark, name in pocket_instruct.SEPARATORS.items()}),
        ("ends", {**pocket_instruct.ENDS}),
    ]  # fmt: skip
    return [(name, value) for name, table in tables for value, phrases in table.items() if phrase in phrases]


@pytest.mark.parametrize(
    ("requirements", "answer", "right"),
    [
        # What is not asked for is free: order, case, separator, ends, and which two.
        (PLAIN, " red, blue", True),
        (PLAIN, "Pink; RED!", True),
        (PLAIN, "red", False),
        (PLAIN, "red, red", False),
        (PLAIN, "red, blue, pink", False),
        (PLAIN, "red, green", False),
        (PLAIN, "", False),
        (Requirements(words=WORDS, number=3), "pink red blue", True),
        (Requirements(words=WORDS, number=3), "pink, red", False),
        (Requirements(words=WORDS, number=2, excluded="red"), "pink, blue", True),
        (Requirements(words=WORDS, number=2, excluded="red"), "red, blue", False),
        (Requirements(words=WORDS, number=2, separator="/"), "red/blue", True),
        (Requirements(words=WORDS, number=2, separator="/"), "red / blue", False),
        # Each requirement alone takes the whole point.
        (STRICT, " PINK, RED.", True),
        (STRICT, "BLUE/RED.\n", True),
        (STRICT, "RED, PINK.", False),
        (STRICT, "PINK, Red.", False),
        (STRICT, "PINK, RED", False),
        (STRICT, "PINK, RED..", False),
        (STRICT, "PINK, RED. BLUE", False),
        (STRICT, "Here: PINK, RED.", False),
    ],
)
def test_an_answer_counts_only_if_all_that_is_asked_for_holds(
    requirements: Requirements, answer: str, right: bool
) -> None:
    example = Instruction(prompt="", completion="", requirements=requirements)
    assert TASK.score(example, answer) == float(right)


def test_every_kind_is_drawn_and_no_exclusion_is_empty() -> None:
    drawn = [pocket_instruct.generate(Random(f"kinds/{index}")).requirements for index in range(200)]
    for name in ("excluded", "backwards", "case", "separator", "ends"):
        assert any(getattr(wanted, name) for wanted in drawn)
    # A word is excluded only where leaving it out changes the first words allowed.
    for wanted in drawn:
        if wanted.excluded is not None:
            assert wanted.excluded in wanted.words
            assert len(wanted.allowed) == wanted.number == 2


def test_no_pretraining_instruction_leaves_a_choice_or_a_word_out() -> None:
    new = re.compile(r" two of |without |but not |, with ")
    assert all(len(example.prompt.split(", ")) > 2 for example in ALL)
    for index in range(1_500):
        text = draw("instructions", CURRICULA["instructions"], index).prompt
        assert not new.search(text), text


def test_every_answer_fits_the_recipe() -> None:
    tokenizer = AutoTokenizer.from_pretrained(POCKET_MODELS / "pocket-llama", local_files_only=True)
    # Without <bos> and with <eos>, the completion has as many tokens as it is encoded to here.
    assert max(len(tokenizer(example.completion)["input_ids"]) for example in ALL) <= TASK.recipe.max_new_tokens
