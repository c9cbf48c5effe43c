"""Faults that make a sentence of `clauses` ungrammatical, by name.

A fault returns the words with itself in them, or None where the sentence has no place for it. Some have one repair and
only one (`REPAIRABLE`), from which a curriculum can be made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from benchmarks.pocket.curricula.clauses import Sentence, Word, draw_sentence

_MAX_DRAWS = 1_000

Fault = Callable[[Random, Sentence], Sentence | None]


def _replaced(place: str) -> Fault:
    """Return the fault that puts a word's other form in its place."""

    def fault(rng: Random, words: Sentence) -> Sentence | None:
        places = [index for index, word in enumerate(words) if word.place == place]
        if not places:
            return None
        index = rng.choice(places)
        return [*words[:index], replace(words[index], text=words[index].other), *words[index + 1 :]]

    return fault


def _missing(rng: Random, words: Sentence) -> Sentence | None:
    """Leave out a singular's determiner, a preposition, or a verb without an auxiliary.

    The last word of a clause stays: of "the baker sings and the farmers sing" would be left "the baker and the farmers
    sing".
    """
    places = [
        index
        for index, (word, after) in enumerate(pairwise(words))
        if word.role in ("determiner", "preposition")
        or (word.role == "verb" and after.role not in ("not", "main", "joining"))
    ]
    if not places:
        return None
    index = rng.choice(places)
    return words[:index] + words[index + 1 :]


def _exchanged(rng: Random, words: Sentence) -> Sentence | None:
    """Exchange a determiner, an adjective, a preposition or an auxiliary with the word after it."""
    before = ("determiner", "the-many", "quantity", "adjective", "preposition", "auxiliary")
    places = [index for index, word in enumerate(words[:-1]) if word.role in before]
    if not places:
        return None
    index = rng.choice(places)
    return [*words[:index], words[index + 1], words[index], *words[index + 2 :]]


def _doubled(rng: Random, words: Sentence) -> Sentence | None:
    """Put a second determiner, auxiliary or preposition beside the first."""
    second = {"determiner": "the", "auxiliary": "will", "preposition": "at", "quantity": "a"}
    places = [index for index, word in enumerate(words) if word.role in second]
    if not places:
        return None
    index = rng.choice(places)
    return [*words[: index + 1], Word(second[words[index].role], "extra"), *words[index + 1 :]]


FAULTS: dict[str, Fault] = {
    "agreement": _replaced("agreement"),
    "form": _replaced("form"),
    "time": _replaced("time"),
    "number": _replaced("number"),
    "case": _replaced("case"),
    "missing": _missing,
    "exchanged": _exchanged,
    "doubled": _doubled,
}
REPAIRABLE = ("agreement", "form", "number", "case", "exchanged", "doubled")


def with_fault(rng: Random, words: Sentence, names: Sequence[str] = tuple(FAULTS)) -> Sentence | None:
    """Put one of the named faults into a sentence, or return None where none of them has a place in it.

    Faults are tried in random order, each once, so that a short list of names ends like a long one.
    """
    for name in rng.sample(names, len(names)):
        faulty = FAULTS[name](rng, words)
        if faulty is not None:
            return faulty
    return None


def draw_faulty(rng: Random, names: Sequence[str], *, joined: int = 4) -> Sentence:
    """Draw a sentence (see `draw_sentence`) with one of the named faults in it.

    Raises:
        ValueError: If none of them has a place in any drawn sentence.
    """
    for _ in range(_MAX_DRAWS):
        faulty = with_fault(rng, draw_sentence(rng, joined=joined), names)
        if faulty is not None:
            return faulty
    raise ValueError(f"faults: {', '.join(names) or 'none'} had no place in any of {_MAX_DRAWS} sentences")
