"""How the meanings of `meanings` are said: with one of two words, in either voice, in any order, as giving or getting.

Of all choices the first one is the plainest, so that to say a meaning plainly is to say it choosing the first.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Protocol, TypeVar

from benchmarks.pocket.curricula.clauses import PEOPLE
from benchmarks.pocket.curricula.meanings import (
    ADJECTIVES,
    COMPARISONS,
    WITH_PERSON,
    WITH_THING,
    Event,
    Group,
    Meaning,
    Sequence,
    Transfer,
)

_Choice = TypeVar("_Choice")


class Chooser(Protocol):
    """What chooses between ways of saying: a `random.Random`, or what takes the first."""

    def choice(self, seq: Several[_Choice], /) -> _Choice:
        """Return one of the choices."""


class _First:
    def choice(self, seq: Several[_Choice], /) -> _Choice:
        return seq[0]


def _phrase(rng: Chooser, group: Group) -> str:
    adjective = "" if group.adjective is None else rng.choice(ADJECTIVES[group.adjective]) + " "
    return f"the {adjective}{group.noun}{'s' if group.plural else ''}"


def _predicate(verb: tuple[str, ...], event: Event, *, passive: bool) -> str:
    base, third, past, participle = verb
    plural, no = (event.patient if passive else event.agent).plural, "not " if event.negated else ""
    if event.tense == "future":
        return f"will {no}{f'be {participle}' if passive else base}"
    if passive:
        be = {"present": ("is", "are"), "past": ("was", "were")}[event.tense][plural]
        return f"{be} {no}{participle}"
    if event.negated:
        do = "did" if event.tense == "past" else "do" if plural else "does"
        return f"{do} not {base}"
    return past if event.tense == "past" else base if plural else third


def _clause(rng: Chooser, event: Event) -> str:
    passive = rng.choice((False, True))
    personal = event.patient.noun in PEOPLE
    verb = rng.choice((WITH_PERSON if personal else WITH_THING)[event.verb])
    agent, patient = _phrase(rng, event.agent), _phrase(rng, event.patient)
    does = _predicate(verb, event, passive=passive)
    return f"{patient} {does} by {agent}" if passive else f"{agent} {does} {patient}"


def say(rng: Chooser, meaning: Meaning) -> str:
    """Say a meaning in one of its ways, as a sentence."""
    if isinstance(meaning, Event):
        words = _clause(rng, meaning)
        if meaning.place:
            words = rng.choice((f"{words} {meaning.place}", f"{meaning.place}, {words}"))
    elif isinstance(meaning, Sequence):
        first, second = _clause(rng, meaning.first), _clause(rng, meaning.second)
        words = rng.choice(
            (
                f"{first} before {second}",
                f"before {second}, {first}",
                f"{second} after {first}",
                f"after {first}, {second}",
            )
        )
    elif isinstance(meaning, Transfer):
        giver, taker, thing = (_phrase(rng, group) for group in (meaning.giver, meaning.taker, meaning.thing))
        ways = (
            (f"{giver} sold {thing} to {taker}", f"{taker} bought {thing} from {giver}")
            if meaning.sold
            else (
                f"{giver} gave {thing} to {taker}",
                f"{giver} gave {taker} {thing}",
                f"{taker} got {thing} from {giver}",
            )
        )
        words = rng.choice(ways)
    else:
        more, less = _phrase(rng, meaning.more), _phrase(rng, meaning.less)
        above, below = COMPARISONS[meaning.quality]
        pairs = ((more, meaning.more, above, less), (less, meaning.less, below, more))
        subject, group, word, rest = rng.choice(pairs)
        words = f"{subject} {'are' if group.plural else 'is'} {word} than {rest}"
    return words[0].upper() + words[1:] + "."


def say_plainly(meaning: Meaning) -> str:
    """Say a meaning in the one way that is the same for all sentences that say it."""
    return say(_First(), meaning)
