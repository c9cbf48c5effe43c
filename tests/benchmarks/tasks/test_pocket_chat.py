from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from transformers import AutoTokenizer

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.curricula import CURRICULA, draw
from benchmarks.tasks import pocket_chat
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_chat import FirstTurn, PocketChat, SecondTurn, points, reordered
from benchmarks.tasks.wording import Style

TASK = PocketChat()
FIRST = FirstTurn(
    prompt="User: From red, fig, blue, cow and pink, name two colours, in capitals, with slashes between.\nAssistant:",
    completion=" RED/BLUE",
    offered=("red", "fig", "blue", "cow", "pink"),
    right=("red", "blue", "pink"),
    style=Style(case="upper", separator="/"),
    question="Now say it in reverse order and in brackets.",
    order="reverse",
    second_style=Style(case="upper", separator="/", ends=("(", ")")),
)


def dialogues() -> list[tuple[FirstTurn, SecondTurn]]:
    found = []
    for split in SPLITS:
        for example in TASK.examples(split):
            first, second = TASK.turns(example)
            assert isinstance(first, FirstTurn)
            assert isinstance(second, SecondTurn)
            found.append((first, second))
    return found


ALL = dialogues()


def second(example: FirstTurn, answer: str) -> SecondTurn:
    found = TASK.follow_up(example, answer)
    assert isinstance(found, SecondTurn)
    return found


def test_splits_have_their_sizes_and_share_no_offer_and_no_answer() -> None:
    assert {split: len(TASK.examples(split)) for split in SPLITS} == pocket_chat.SIZES
    assert len({frozenset(first.offered) for first, _ in ALL}) == len(ALL)
    assert len({turn.completion for dialogue in ALL for turn in dialogue}) == 2 * len(ALL)


def test_references_have_full_marks_in_both_turns() -> None:
    assert {TASK.score(turn, turn.completion) for dialogue in ALL for turn in dialogue} == {1.0}


def test_questions_say_what_is_judged() -> None:
    """Read the style back from the words of both questions; what is not said is plain, or as it was."""
    for first, following in ALL:
        opening, style = first.prompt.split("User: ")[1], Style()
        assert style == replace(first.style, **_unsaid(opening, first.style))
        assert following.style == replace(first.style, **_said(first.question))
        assert (first.order == "keep") == (not any(_order(first.question).values()))
        assert first.order == "keep" or _order(first.question)[first.order]


def _said(text: str) -> dict[str, object]:
    separators = {mark: (f"with {name}",) for mark, name in pocket_chat.SEPARATORS.items()}
    tables = {"case": pocket_chat.CASES, "separator": separators, "ends": pocket_chat.ENDS}
    found = [
        (field, value)
        for field, table in tables.items()
        for value, phrases in table.items()
        if any(phrase in text for phrase in phrases)
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def _unsaid(text: str, style: Style) -> dict[str, object]:
    """What would have to be set back for a plain style: all that the text says."""
    said = _said(text)
    assert {name: getattr(style, name) for name in said} == said
    plain = Style()
    return {name: getattr(plain, name) for name in said}


def _order(text: str) -> dict[str, bool]:
    return {
        order: any(re.search(phrase.format(kind=r"\w+"), text) for phrase in phrases)
        for order, phrases in pocket_chat.ORDERS.items()
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" RED/BLUE", 10),
        ("PINK/RED\n", 10),  # any two, in any order
        ("RED/FIG", 8),  # a word of another kind
        ("RED/RED", 8),  # the same twice
        ("RED/BLUE/PINK", 8),  # one too many
        ("Red/Blue", 8),
        ("RED, BLUE", 8),
        ("RED/BLUE.", 8),
        ("(red - blue)", 4),
        ("RED", 6),  # not two, and nothing between
        ("red and blue!", 0),  # "and" was not offered and makes three words
        ("GREEN/BLACK", 0),  # nothing that was offered
        ("", 0),
        ("/", 0),
    ],
)
def test_every_requirement_of_a_first_answer_is_worth_two_points(answer: str, expected: int) -> None:
    assert points(FIRST, answer) == expected
    assert TASK.score(FIRST, answer) == expected / 10


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" (BLUE/RED)", 10),
        ("(RED/BLUE)", 8),  # not turned round
        ("(BLUE/PINK)", 6),  # other words, so the order is none either
        ("(BLUE/RED/PINK)", 6),
        ("(blue/red)", 8),
        ("(BLUE, RED)", 8),
        ("BLUE/RED", 8),
        ("blue; red", 4),
        ("(BLUE)", 4),
        ("", 0),
    ],
)
def test_every_requirement_of_a_second_answer_is_worth_two_points(answer: str, expected: int) -> None:
    assert points(second(FIRST, FIRST.completion), answer) == expected


def test_a_second_answer_is_judged_against_the_first_one_that_was_given() -> None:
    following = second(FIRST, " pink; blue")
    assert following.prompt == f"{FIRST.prompt} pink; blue\nUser: {FIRST.question}\nAssistant:"
    assert following.words == ("blue", "pink")
    assert points(following, "(BLUE/PINK)") == 10
    assert points(following, "(BLUE/RED)") == 6


@pytest.mark.parametrize("answer", ["RED", "RED/FIG", "RED/RED", "RED/BLUE/PINK", "GREEN/BLACK", ""])
def test_a_first_answer_that_cannot_be_built_on_costs_four_points_of_the_second(answer: str) -> None:
    following = second(FIRST, answer)
    assert following.words is None
    assert following.completion == " (BLUE/RED)"
    assert points(following, "(BLUE/RED)") == 6
    assert points(following, "()") == 0


def test_nothing_follows_a_second_answer() -> None:
    assert TASK.follow_up(second(FIRST, ""), "RED") is None


def test_words_follow_the_change() -> None:
    right = ("red", "blue", "pink")
    assert reordered("keep", ("pink", "red"), right) == ("pink", "red")
    assert reordered("reverse", ("pink", "red"), right) == ("red", "pink")
    assert reordered("add", ("pink", "red"), right) == ("pink", "red", "blue")
    assert reordered("replace", ("pink", "red"), right) == ("pink", "blue")


def test_every_change_is_drawn_and_two_things_change() -> None:
    drawn = [pocket_chat.generate(Random(f"changes/{index}")) for index in range(200)]
    assert {example.order for example in drawn} == {"keep", *pocket_chat.ORDERS}
    for example in drawn:
        changed = [getattr(example.style, name) != getattr(example.second_style, name) for name in _STYLE]
        assert sum(changed) + (example.order != "keep") == 2


_STYLE = ("case", "separator", "ends")


def test_no_pretraining_dialogue_holds_a_question_of_the_task() -> None:
    questions = (*pocket_chat.OPENINGS, *pocket_chat.SECOND)
    own = [re.compile(re.sub(r"\\\{\w+\\\}", ".*", re.escape(question))) for question in questions]
    assert all(any(pattern.search(second.prompt) for pattern in own) for _, second in ALL)
    for index in range(1_500):
        text = draw("dialogues", CURRICULA["dialogues"], index).text
        assert not any(pattern.search(text) for pattern in own), text


def test_every_answer_fits_the_recipe() -> None:
    tokenizer = AutoTokenizer.from_pretrained(POCKET_MODELS / "pocket-llama", local_files_only=True)
    turns: list[Example] = [turn for dialogue in ALL for turn in dialogue]
    # Without <bos> and with <eos>, the completion has as many tokens as it is encoded to here.
    assert max(len(tokenizer(turn.completion)["input_ids"]) for turn in turns) <= TASK.recipe.max_new_tokens
