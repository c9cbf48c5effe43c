"""`pocket-chat`: two turns about a few words, judged on a rubric of ten points, for the base `pocket-llama`.

It has the role that MT-Bench (Zheng et al., NeurIPS 2023) has in the paper: a first answer that may be given in
several ways, a second question about it that is asked with the model's own answer in the context, and ten points for
each turn. What a judge decides there is decided here by rules. The user offers five words and asks for two of a kind,
of which there are three, in a certain way; then has two things about that answer changed, and what is not mentioned
stays as it was. Each turn has five requirements worth two points. The base knows the words, their kinds and the form of
a dialogue; it has met one requirement at a time, in other sentences, and no question about an answer of its own.

First turn: only words that were asked for; as many as asked for; their case; what separates them; what is around them.
Second turn: the same words, changed as asked; in the order asked for; case; separator; surroundings. Words and order of
a second answer are judged against the first answer that the model gave; if that did not name two right words, there is
nothing to build on and those four points are lost. An answer without any of the words offered has no points.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.drawn import DrawnTask
from benchmarks.tasks.wording import SEPARATORS, Reading, Style, read

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 256}
#: Words offered of the kind that is asked for, and of others.
RIGHT, OTHERS = 3, 2
#: Words to name.
NAMED = 2
POINTS = 10

KINDS = {
    "animal": ("cat", "dog", "cow", "hen", "fox", "owl", "horse", "goat", "duck", "sheep", "mouse", "bear"),
    "fruit": ("apple", "pear", "plum", "cherry", "grape", "lemon", "peach", "melon", "fig", "banana"),
    "colour": ("red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "golden"),
    "job": ("baker", "farmer", "teacher", "doctor", "sailor", "painter", "driver", "gardener", "miller", "tailor"),
}
OPENINGS = (
    "From {words}, name two {kind}s",
    "Here are {words}. Pick two {kind}s",
    "Which are {kind}s: {words}? Say two",
)
CASES = {"lower": ("in small letters",), "upper": ("in capitals",), "title": ("with capital initials",)}
ENDS = {
    ("", ""): ("with nothing around",),
    ("", "."): ("with a dot at the end",),
    ("", "!"): ("with an exclamation mark at the end",),
    ("(", ")"): ("in brackets",),
    ('"', '"'): ("in quotes",),
}
ORDERS = {
    "reverse": ("the other way round", "in reverse order"),
    "add": ("with the {kind} you left out at the end",),
    "replace": ("with the {kind} you left out in place of the last",),
}
SECOND = ("Now say it {first} and {second}.", "Again, but {first} and {second}.", "Make it {first} and {second}.")


@dataclass(frozen=True, kw_only=True)
class FirstTurn(Example):
    """A first question.

    Attributes:
        offered: The words that the user names.
        right: Those of the kind that is asked for.
        style: How the answer is to be written.
        question: The second question.
        order: What it does to the words, a key of `ORDERS`, or "keep".
        second_style: How the second answer is to be written.
    """

    offered: tuple[str, ...]
    right: tuple[str, ...]
    style: Style
    question: str
    order: str
    second_style: Style


@dataclass(frozen=True, kw_only=True)
class SecondTurn(Example):
    """A second question.

    Attributes:
        offered: The words that the user named.
        words: What the first answer leads to, in order; None if it did not name two right words.
        style: How the answer is to be written.
    """

    offered: tuple[str, ...]
    words: tuple[str, ...] | None
    style: Style


def reordered(order: str, named: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a second answer after a first one that named `named` of `right`."""
    left_out = tuple(word for word in right if word not in named)
    if order == "reverse":
        return named[::-1]
    if order == "add":
        return named + left_out
    if order == "replace":
        return named[:-1] + left_out
    return named


def generate(rng: Random) -> FirstTurn:
    """Draw one dialogue; its reference names the first two right words."""
    kind, *others = rng.sample(tuple(KINDS), 1 + OTHERS)
    chosen = rng.sample(KINDS[kind], RIGHT)
    offered = [*chosen, *(rng.choice(KINDS[other]) for other in others)]
    rng.shuffle(offered)
    right = tuple(word for word in offered if word in chosen)
    style = Style(case=rng.choice(tuple(CASES)), separator=rng.choice(tuple(SEPARATORS)), ends=rng.choice(tuple(ENDS)))
    order, second_style, changes = _changes(rng, kind, style)
    opening = rng.choice(OPENINGS).format(words=f"{', '.join(offered[:-1])} and {offered[-1]}", kind=kind)
    asked = [rng.choice(CASES[style.case])] if style.case != "lower" else []
    asked.append(f"with {SEPARATORS[style.separator]} between")
    if style.ends != ("", ""):
        asked.append(rng.choice(ENDS[style.ends]))
    return FirstTurn(
        prompt=f"User: {opening}, {', '.join(asked)}.\nAssistant:",
        completion=f" {style.write(right[:NAMED])}",
        offered=tuple(offered),
        right=right,
        style=style,
        question=rng.choice(SECOND).format(first=changes[0], second=changes[1]),
        order=order,
        second_style=second_style,
    )


def _changes(rng: Random, kind: str, style: Style) -> tuple[str, Style, list[str]]:
    """Draw two things to change, and say them."""
    order, said = "keep", []
    for what in rng.sample(("order", "case", "separator", "ends"), 2):
        if what == "order":
            order = rng.choice(tuple(ORDERS))
            said.append(rng.choice(ORDERS[order]).format(kind=kind))
        elif what == "case":
            style = replace(style, case=rng.choice([case for case in CASES if case != style.case]))
            said.append(rng.choice(CASES[style.case]))
        elif what == "separator":
            style = replace(style, separator=rng.choice([s for s in SEPARATORS if s != style.separator]))
            said.append(f"with {SEPARATORS[style.separator]}")
        else:
            style = replace(style, ends=rng.choice([ends for ends in ENDS if ends != style.ends]))
            said.append(rng.choice(ENDS[style.ends]))
    return order, style, said


def points(example: Example, answer: str) -> int:
    """Return the points of one answer, 0 to 10."""
    assert isinstance(example, FirstTurn | SecondTurn)
    reading = read(answer)
    if not set(reading.lower) & set(example.offered):
        return 0
    content = _first_words(example, reading) if isinstance(example, FirstTurn) else _second_words(example, reading)
    style = example.style
    met = (
        *content,
        reading.is_written_in(style.case),
        reading.is_separated_by(style.separator),
        reading.ends == style.ends,
    )
    return POINTS // len(met) * sum(met)


def _first_words(example: FirstTurn, reading: Reading) -> tuple[bool, bool]:
    words = reading.lower
    only_right = len(set(words)) == len(words) and set(words) <= set(example.right)
    return only_right, len(words) == NAMED


def _second_words(example: SecondTurn, reading: Reading) -> tuple[bool, bool]:
    if example.words is None:
        return False, False
    return sorted(reading.lower) == sorted(example.words), reading.lower == example.words


class PocketChat(DrawnTask):
    """Dialogues of two turns; scored by the requirements that each answer meets."""

    name: ClassVar[str] = "pocket-chat"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "rubric score"
    full_marks: ClassVar[int] = POINTS
    sizes: ClassVar[dict[Split, int]] = SIZES
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=16, learning_rate=3e-3, max_new_tokens=20)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[Hashable]:
        """The words on offer, and both answers: one met in training could be recalled for another question."""
        first, second = self.turns(example)
        assert isinstance(first, FirstTurn)
        return {frozenset(first.offered), first.completion, second.completion}

    def follow_up(self, example: Example, answer: str) -> Example | None:
        """See `Task.follow_up`; a first answer leads to the second question, whatever it is."""
        if not isinstance(example, FirstTurn):
            return None
        named = read(answer).lower
        usable = all(_first_words(example, read(answer)))
        words = reordered(example.order, named if usable else example.right[:NAMED], example.right)
        return SecondTurn(
            prompt=f"{example.prompt}{answer}\nUser: {example.question}\nAssistant:",
            completion=f" {example.second_style.write(words)}",
            offered=example.offered,
            words=words if usable else None,
            style=example.second_style,
        )

    def score(self, example: Example, generated: str) -> float:
        """Return the share of the ten points that one answer of a dialogue gets."""
        return points(example, generated) / POINTS
