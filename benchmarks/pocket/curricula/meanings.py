"""What simple sentences say: events, two in a row, something handed over, comparisons; drawn, and changed in one point.

A meaning is a record without words of its own, which `saying` writes in several ways. The task `pocket-nlu-paraphrase`
asks whether two sentences say the same; its base learns from these meanings to say one plainly, and to choose.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from random import Random

from benchmarks.pocket.curricula.clauses import PEOPLE, THINGS

PLACES = ("in the garden", "at the market", "near the river", "in the kitchen", "at the station")
#: Verbs as base, third person, past, participle; those of one row mean the same.
WITH_PERSON = (
    (("help", "helps", "helped", "helped"), ("assist", "assists", "assisted", "assisted")),
    (("call", "calls", "called", "called"), ("phone", "phones", "phoned", "phoned")),
    (("watch", "watches", "watched", "watched"), ("observe", "observes", "observed", "observed")),
    (("meet", "meets", "met", "met"), ("encounter", "encounters", "encountered", "encountered")),
    (("greet", "greets", "greeted", "greeted"), ("welcome", "welcomes", "welcomed", "welcomed")),
)
WITH_THING = (
    (("buy", "buys", "bought", "bought"), ("purchase", "purchases", "purchased", "purchased")),
    (("hide", "hides", "hid", "hidden"), ("conceal", "conceals", "concealed", "concealed")),
    (("fix", "fixes", "fixed", "fixed"), ("repair", "repairs", "repaired", "repaired")),
    (("gather", "gathers", "gathered", "gathered"), ("collect", "collects", "collected", "collected")),
    (("choose", "chooses", "chose", "chosen"), ("select", "selects", "selected", "selected")),
    (("break", "breaks", "broke", "broken"), ("smash", "smashes", "smashed", "smashed")),
)
ADJECTIVES = (("big", "large"), ("small", "little"), ("strange", "odd"))
#: More and less of one quality.
COMPARISONS = (("taller", "shorter"), ("older", "younger"), ("richer", "poorer"), ("faster", "slower"))
#: A name that stands twice is drawn twice as often.
KINDS = ("event", "event", "event", "sequence", "transfer", "comparison")
TENSES = ("present", "past", "future")


@dataclass(frozen=True)
class Group:
    """Some people or things: which noun, one or several, and a row of `ADJECTIVES` or None."""

    noun: str
    plural: bool
    adjective: int | None = None


@dataclass(frozen=True)
class Event:
    """Somebody does something to somebody or something; `verb` is a row of `WITH_PERSON` or of `WITH_THING`."""

    agent: Group
    verb: int
    patient: Group
    tense: str
    negated: bool
    place: str


@dataclass(frozen=True)
class Sequence:
    """One event before another."""

    first: Event
    second: Event


@dataclass(frozen=True)
class Transfer:
    """Somebody hands something over to somebody, in the past."""

    giver: Group
    taker: Group
    thing: Group
    sold: bool


@dataclass(frozen=True)
class Comparison:
    """Somebody is more than somebody else in a quality, a row of `COMPARISONS`."""

    more: Group
    less: Group
    quality: int


Meaning = Event | Sequence | Transfer | Comparison


def _person(rng: Random, *others: Group) -> Group:
    taken = {other.noun for other in others}
    return Group(rng.choice([noun for noun in PEOPLE if noun not in taken]), rng.randrange(3) == 0)


def _thing(rng: Random) -> Group:
    adjective = rng.randrange(len(ADJECTIVES)) if rng.randrange(2) else None
    return Group(rng.choice(THINGS), rng.randrange(3) == 0, adjective)


def _event(rng: Random, *, tense: str = "", negated: bool | None = None) -> Event:
    agent = _person(rng)
    personal = rng.randrange(2) == 0
    return Event(
        agent,
        rng.randrange(len(WITH_PERSON if personal else WITH_THING)),
        _person(rng, agent) if personal else _thing(rng),
        tense or rng.choice(TENSES),
        rng.randrange(4) == 0 if negated is None else negated,
        rng.choice(PLACES) if rng.randrange(3) == 0 else "",
    )


def draw_meaning(rng: Random, kinds: Several[str] = KINDS) -> Meaning:
    """Draw a meaning of one of `KINDS`."""
    kind = rng.choice(kinds)
    if kind == "event":
        return _event(rng)
    if kind == "sequence":
        first = second = replace(_event(rng, tense="past", negated=False), place="")
        while second == first:
            second = replace(_event(rng, tense="past", negated=False), place="")
        return Sequence(first, second)
    one = _person(rng)
    other = _person(rng, one)
    if kind == "transfer":
        return Transfer(one, other, _thing(rng), rng.randrange(2) == 0)
    return Comparison(one, other, rng.randrange(len(COMPARISONS)))


def _other_thing(rng: Random, thing: Group) -> Group:
    """Change how many they are, or what they are, or what they are like."""
    changes = [
        replace(thing, plural=not thing.plural),
        replace(thing, noun=rng.choice([noun for noun in THINGS if noun != thing.noun])),
    ]
    if thing.adjective is not None:
        other = rng.choice([row for row in range(len(ADJECTIVES)) if row != thing.adjective])
        changes.append(replace(thing, adjective=other))
    return rng.choice(changes)


def _other_event(rng: Random, event: Event) -> Event:
    personal = event.patient.noun in PEOPLE
    verbs = range(len(WITH_PERSON if personal else WITH_THING))
    change = rng.randrange(8 if event.place else 7)
    if change < 3 and personal:
        return replace(event, agent=event.patient, patient=event.agent)
    if change < 3:
        return replace(event, patient=_other_thing(rng, event.patient))
    if change == 3:
        return replace(event, negated=not event.negated)
    if change == 4:
        return replace(event, agent=replace(event.agent, plural=not event.agent.plural))
    if change == 5:
        return replace(event, verb=rng.choice([row for row in verbs if row != event.verb]))
    if change == 6:
        return replace(event, tense=rng.choice([tense for tense in TENSES if tense != event.tense]))
    return replace(event, place=rng.choice([place for place in PLACES if place != event.place]))


def change_meaning(rng: Random, meaning: Meaning) -> Meaning:
    """Change a meaning in one point."""
    if isinstance(meaning, Event):
        return _other_event(rng, meaning)
    if isinstance(meaning, Sequence):
        first, second = meaning.first, meaning.second
        nouns = {event.patient.noun for event in (first, second)}
        apart = first.agent != second.agent and not nouns & {first.agent.noun, second.agent.noun}
        if rng.randrange(3) or not apart:
            return Sequence(second, first)
        return Sequence(replace(first, agent=second.agent), replace(second, agent=first.agent))
    if isinstance(meaning, Transfer):
        if rng.randrange(3):
            return replace(meaning, giver=meaning.taker, taker=meaning.giver)
        return replace(meaning, thing=_other_thing(rng, meaning.thing))
    return Comparison(meaning.less, meaning.more, meaning.quality)
