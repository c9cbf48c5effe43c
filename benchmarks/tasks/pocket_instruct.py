"""`pocket-instruct`: instructions under several requirements that rules can verify, for the base `pocket-llama`.

It has the role that IFEval (Zhou et al., arXiv 2311.07911) has in the paper. An instruction asks for all of three words
or for two of them, under two or three of five kinds of requirement: a word that may not be written, their order, their
case, what separates them, what stands around them. Several answers are right where the choice or the order is free. The
metric is IFEval's strict accuracy by prompt: an answer counts only if all requirements hold, as it stands, and what
the instruction does not mention is not judged. The base has met these words, and instructions with one or two such
requirements, most of them in other sentences; in no instruction a word to leave out, a choice, or three at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.drawn import DrawnTask
from benchmarks.tasks.wording import SEPARATORS, Style, read

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 256}
#: Words that an instruction names.
OFFERED = 3

GROUPS = {
    "animals": ("cat", "dog", "cow", "hen", "fox", "owl", "horse", "goat", "duck", "sheep", "mouse", "bear"),
    "fruits": ("apple", "pear", "plum", "cherry", "grape", "lemon", "peach", "melon", "fig", "banana"),
    "colours": ("red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "golden"),
    "jobs": ("baker", "farmer", "teacher", "doctor", "sailor", "painter", "driver", "gardener", "miller", "tailor"),
}
ALL = ("Write the {group} {words}", "Say the {group} {words}")
TWO = ("Write two of the {group} {words}", "Say two of the {group} {words}")
EXCLUDED = ("without {word}", "but not {word}")
BACKWARDS = "in reverse order"
CASES = {"upper": ("in capitals", "all in capital letters"), "title": ("with capital initials", "each with a capital")}
SEPARATED = ("separated by {mark}", "with {mark} in between")
ENDS = {
    ("", "."): ("ending with a dot", "closed by a dot"),
    ("", "!"): ("ending with an exclamation mark", "closed by an exclamation mark"),
    ("", "?"): ("ending with a question mark", "closed by a question mark"),
    ("(", ")"): ("in brackets",),
    ('"', '"'): ("in quotes",),
}
KINDS = ("excluded", "order", "case", "separator", "ends")


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What an answer has to keep; None, or false, is not asked for.

    Attributes:
        words: The words named, in the order in which they are.
        number: How many to write.
        excluded: One that may not be written.
        backwards: Whether the last named comes first; any order is right if not.
        case: A key of `CASES`.
        separator: What stands between two words.
        ends: What stands before the first word and after the last.
    """

    words: tuple[str, ...]
    number: int
    excluded: str | None = None
    backwards: bool = False
    case: str | None = None
    separator: str | None = None
    ends: tuple[str, str] | None = None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The words that may be written, in the order in which they are named."""
        return tuple(word for word in self.words if word != self.excluded)

    def ordered(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return named words in the order asked for; as they are if none is."""
        return tuple(sorted(words, key=self.words.index, reverse=True)) if self.backwards else tuple(words)

    def hold(self, answer: str) -> bool:
        """Whether an answer keeps all of them."""
        reading = read(answer)
        words = reading.lower
        return (
            len(words) == len(set(words)) == self.number
            and set(words) <= set(self.allowed)
            and words == self.ordered(words)
            and (self.case is None or reading.is_written_in(self.case))
            and (self.separator is None or reading.is_separated_by(self.separator))
            and (self.ends is None or reading.ends == self.ends)
        )

    def reference(self) -> str:
        """Return the answer that takes the first words allowed."""
        style = Style(case=self.case or "lower", separator=self.separator or ", ", ends=self.ends or ("", ""))
        return style.write(self.ordered(self.allowed[: self.number]))


@dataclass(frozen=True, kw_only=True)
class Instruction(Example):
    """An instruction with its requirements."""

    requirements: Requirements


def generate(rng: Random) -> Instruction:
    """Draw one instruction; its reference takes the first words that are allowed."""
    number = rng.choice((2, OFFERED))
    group = rng.choice(tuple(GROUPS))
    requirements = Requirements(words=tuple(rng.sample(GROUPS[group], OFFERED)), number=number)
    said = [rng.choice(ALL if number == OFFERED else TWO).format(group=group, words=" ".join(requirements.words))]
    for kind in rng.sample(KINDS, rng.choices((2, 3), weights=(2, 1))[0]):
        requirements, phrase = _ask(rng, kind, requirements)
        said.append(phrase)
    return Instruction(
        prompt=f"Instruction: {', '.join(said)}.\nResponse:",
        completion=f" {requirements.reference()}",
        requirements=requirements,
    )


def _ask(rng: Random, kind: str, requirements: Requirements) -> tuple[Requirements, str]:
    """Draw a requirement of a kind; returns all of them and how this one is said."""
    if kind == "excluded":
        # Only a word that the reference would take makes a difference.
        word = rng.choice(requirements.words[: requirements.number])
        return replace(requirements, excluded=word, number=OFFERED - 1), rng.choice(EXCLUDED).format(word=word)
    if kind == "order":
        return replace(requirements, backwards=True), BACKWARDS
    if kind == "case":
        case = rng.choice(tuple(CASES))
        return replace(requirements, case=case), rng.choice(CASES[case])
    if kind == "separator":
        separator = rng.choice(tuple(SEPARATORS))
        return replace(requirements, separator=separator), rng.choice(SEPARATED).format(mark=SEPARATORS[separator])
    ends = rng.choice(tuple(ENDS))
    return replace(requirements, ends=ends), rng.choice(ENDS[ends])


class PocketInstruct(DrawnTask):
    """Instructions under several requirements; an answer counts if all of them hold."""

    name: ClassVar[str] = "pocket-instruct"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "strict accuracy"
    sizes: ClassVar[dict[Split, int]] = SIZES
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=16, learning_rate=3e-3, max_new_tokens=16)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[Hashable]:
        """The words in the order in which they are named, and the answer: each is met once."""
        assert isinstance(example, Instruction)
        return {example.requirements.words, example.completion}

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if the answer keeps every requirement of its instruction, else 0."""
        assert isinstance(example, Instruction)
        return float(example.requirements.hold(generated))
