"""`pocket-nlu-paraphrase`: do two sentences mean the same? For the base `pocket-t5`, in the role of MRPC.

A meaning is drawn, and for half of the pairs changed in one point: who does it to whom, whether, how many, what, when,
where, or what came first. Each of the two is then written in a way of its own: a synonym, the other voice, the clauses
in the other order, giving as getting, taller as shorter. So two sentences with the same words may differ and two with
few words in common may not. The base knows synonyms, voices and orders from rewording single sentences and from
questions about them, with other people in them; it never met two sentences to compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.judging import JudgingTask

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 512}

PEOPLE = ("baker", "farmer", "teacher", "doctor", "sailor", "painter", "driver", "gardener", "miller", "tailor")
THINGS = ("lamp", "book", "basket", "letter", "bottle", "candle", "picture", "coat", "boat", "clock")
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
TENSES = ("present", "past", "future")
EQUIVALENT, DIFFERENT = " equivalent", " different"


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


def draw_meaning(rng: Random) -> Meaning:
    """Draw a meaning."""
    kind = rng.choices(("event", "sequence", "transfer", "comparison"), weights=(5, 2, 2, 1))[0]
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


def _phrase(rng: Random, group: Group) -> str:
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


def _clause(rng: Random, event: Event) -> str:
    passive = rng.randrange(2) == 0
    personal = event.patient.noun in PEOPLE
    verb = rng.choice((WITH_PERSON if personal else WITH_THING)[event.verb])
    agent, patient = _phrase(rng, event.agent), _phrase(rng, event.patient)
    does = _predicate(verb, event, passive=passive)
    return f"{patient} {does} by {agent}" if passive else f"{agent} {does} {patient}"


def write(rng: Random, meaning: Meaning) -> str:
    """Write a meaning in one of its ways, as a sentence."""
    if isinstance(meaning, Event):
        words = _clause(rng, meaning)
        if meaning.place:
            words = f"{meaning.place}, {words}" if rng.randrange(2) else f"{words} {meaning.place}"
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


def generate(rng: Random) -> Example:
    """Draw one pair; its sentences never are the same text."""
    meaning = draw_meaning(rng)
    same = rng.randrange(2) == 0
    other = meaning if same else change_meaning(rng, meaning)
    first = second = write(rng, meaning)
    while second == first:
        second = write(rng, other)
    if rng.randrange(2):
        first, second = second, first
    return Example(prompt=f"First: {first}\nSecond: {second}\nJudgement:", completion=EQUIVALENT if same else DIFFERENT)


class PocketNluParaphrase(JudgingTask):
    """Pairs of sentences; accuracy of the answers."""

    name: ClassVar[str] = "pocket-nlu-paraphrase"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "accuracy"
    base: ClassVar[str] = "pocket-t5"
    sizes: ClassVar[dict[Split, int]] = SIZES
    answers: ClassVar[tuple[str, str]] = (EQUIVALENT, DIFFERENT)
    recipe: ClassVar[Recipe] = Recipe(steps=200, batch_size=16, learning_rate=2e-3, max_new_tokens=8)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[str]:
        """No sentence comes twice, in whatever pair."""
        return {line.split(": ", 1)[1] for line in example.prompt.split("\n")[:2]}
