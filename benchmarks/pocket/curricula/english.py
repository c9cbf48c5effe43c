"""English clauses with agreement, tenses, negation and both voices: what the curricula of `pocket-t5` are written in.

A clause is a record of who does what to whom, when and where; writing it out is a function of the record, so that
one clause can be written in several ways (active, passive, another word, another order) and asked about. Nouns and
verbs are regular and irregular. The grammars of the tasks (`clauses`, `meanings`) share the words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random


@dataclass(frozen=True)
class Noun:
    """A noun in the singular and the plural."""

    one: str
    many: str


@dataclass(frozen=True)
class Verb:
    """The five forms of a verb: walk, walks, walked, walked, walking."""

    base: str
    third: str
    past: str
    participle: str
    ing: str


def _nouns(words: str) -> tuple[Noun, ...]:
    pairs = (word.split("/") for word in words.split())
    return tuple(Noun(pair[0], pair[1] if len(pair) > 1 else pair[0] + "s") for pair in pairs)


def _verbs(words: str) -> tuple[Verb, ...]:
    """Read verbs as base/third/past/participle/ing."""
    return tuple(Verb(*forms.split("/")) for forms in words.split())


BEINGS = _nouns(
    "boy girl man/men woman/women child/children king queen friend student nurse pilot singer hunter soldier neighbour "
    "baker farmer teacher doctor sailor painter driver gardener miller tailor dog cat horse fox/foxes duck goat bear"
)
OBJECTS = _nouns(
    "book pen lamp basket cup key letter map coin ball rope bottle candle box/boxes picture stone present coat boat "
    "bag plate chair table clock"
)
#: Done to beings, to objects, and to nobody.
TO_BEINGS = _verbs(
    "see/sees/saw/seen/seeing follow/follows/followed/followed/following help/helps/helped/helped/helping "
    "assist/assists/assisted/assisted/assisting call/calls/called/called/calling phone/phones/phoned/phoned/phoning "
    "watch/watches/watched/watched/watching observe/observes/observed/observed/observing "
    "meet/meets/met/met/meeting encounter/encounters/encountered/encountered/encountering "
    "greet/greets/greeted/greeted/greeting welcome/welcomes/welcomed/welcomed/welcoming "
    "thank/thanks/thanked/thanked/thanking visit/visits/visited/visited/visiting push/pushes/pushed/pushed/pushing "
    "hear/hears/heard/heard/hearing teach/teaches/taught/taught/teaching draw/draws/drew/drawn/drawing"
)
TO_OBJECTS = _verbs(
    "buy/buys/bought/bought/buying purchase/purchases/purchased/purchased/purchasing "
    "hide/hides/hid/hidden/hiding conceal/conceals/concealed/concealed/concealing "
    "fix/fixes/fixed/fixed/fixing repair/repairs/repaired/repaired/repairing "
    "gather/gathers/gathered/gathered/gathering collect/collects/collected/collected/collecting "
    "choose/chooses/chose/chosen/choosing select/selects/selected/selected/selecting "
    "throw/throws/threw/thrown/throwing toss/tosses/tossed/tossed/tossing "
    "break/breaks/broke/broken/breaking smash/smashes/smashed/smashed/smashing "
    "carry/carries/carried/carried/carrying find/finds/found/found/finding take/takes/took/taken/taking "
    "hold/holds/held/held/holding clean/cleans/cleaned/cleaned/cleaning sell/sells/sold/sold/selling "
    "bring/brings/brought/brought/bringing move/moves/moved/moved/moving"
)
ALONE = _verbs(
    "sleep/sleeps/slept/slept/sleeping sing/sings/sang/sung/singing dance/dances/danced/danced/dancing "
    "walk/walks/walked/walked/walking laugh/laughs/laughed/laughed/laughing wait/waits/waited/waited/waiting "
    "work/works/worked/worked/working swim/swims/swam/swum/swimming rest/rests/rested/rested/resting "
    "smile/smiles/smiled/smiled/smiling shout/shouts/shouted/shouted/shouting yell/yells/yelled/yelled/yelling "
    "start/starts/started/started/starting begin/begins/began/begun/beginning "
    "arrive/arrives/arrived/arrived/arriving sit/sits/sat/sat/sitting"
)
VERBS = TO_BEINGS + TO_OBJECTS + ALONE
_QUALITIES = (
    "big large small little glad happy clever smart quiet silent tired weary rich wealthy strange odd old young new "
    "tall short slow brave"
)
QUALITIES = tuple(_QUALITIES.split())
PLACES = ("in the garden", "in the shop", "at the market", "near the river", "in the kitchen", "at the station")


def _pairs(words: str) -> tuple[tuple[str, str], ...]:
    pairs = (pair.split("/") for pair in words.split())
    return tuple((first, second) for first, second in pairs)


#: Two words for one thing; each word stands in one pair only, so that the other word is the only answer.
SAME_WORDS = _pairs("big/large small/little glad/happy clever/smart quiet/silent tired/weary rich/wealthy strange/odd")
_BY_BASE = {verb.base: verb for verb in VERBS}
SAME_VERBS = tuple(
    (_BY_BASE[first], _BY_BASE[second])
    for first, second in _pairs(
        "help/assist call/phone watch/observe meet/encounter greet/welcome buy/purchase hide/conceal fix/repair "
        "gather/collect choose/select throw/toss break/smash shout/yell start/begin"
    )
)
OPPOSITES = _pairs("big/small glad/sad rich/poor old/young tall/short slow/fast")
#: The word of time that belongs to a tense; the progressive and the perfect have one of their own.
TIMES = {
    "present": "every day",
    "past": "yesterday",
    "future": "tomorrow",
    "progressive": "now",
    "perfect": "already",
}
TENSES = tuple(TIMES)
JOINING = ("because", "while", "when", "before", "after")


@dataclass(frozen=True)
class Thing:
    """A noun phrase: `the tall boys`."""

    noun: Noun
    plural: bool = False
    quality: str = ""
    determiner: str = "the"

    def __str__(self) -> str:
        words = (self.determiner, self.quality, self.noun.many if self.plural else self.noun.one)
        return " ".join(word for word in words if word)


@dataclass(frozen=True)
class Clause:
    """Who does what to whom, when and where; `patient` is None for verbs that need nobody."""

    agent: Thing
    verb: Verb
    patient: Thing | None
    tense: str
    negated: bool = False
    place: str = ""
    timed: bool = False


def predicate(verb: Verb, tense: str, *, plural: bool, negated: bool = False, passive: bool = False) -> str:
    """Write a verb with its auxiliaries, agreeing with a subject in the third person."""
    be, have = ("are", "have") if plural else ("is", "has")
    were = "were" if plural else "was"
    if passive:
        words = {
            "present": [be, verb.participle],
            "past": [were, verb.participle],
            "future": ["will", "be", verb.participle],
            "progressive": [be, "being", verb.participle],
            "perfect": [have, "been", verb.participle],
        }[tense]
    else:
        words = {
            "present": [verb.base if plural else verb.third],
            "past": [verb.past],
            "future": ["will", verb.base],
            "progressive": [be, verb.ing],
            "perfect": [have, verb.participle],
        }[tense]
        if negated and len(words) == 1:
            words = [("do" if plural else "does") if tense == "present" else "did", verb.base]
    return " ".join([words[0], "not", *words[1:]] if negated else words)


def write(clause: Clause, *, passive: bool = False, time_first: bool = False) -> str:
    """Write a clause out, without capital and full stop; the passive needs a patient."""
    if passive and clause.patient is not None:
        subject, rest = clause.patient, f"by {clause.agent}"
    else:
        subject, rest = clause.agent, str(clause.patient or "")
    verb = predicate(clause.verb, clause.tense, plural=subject.plural, negated=clause.negated, passive=passive)
    time = TIMES[clause.tense] if clause.timed else ""
    parts = [str(subject), verb, rest, clause.place]
    parts = [time, *parts] if time_first else [*parts, time]
    return " ".join(part for part in parts if part)


def sentence(words: str, end: str = ".") -> str:
    """Return words as a sentence: a capital at its start, a mark at its end."""
    return words[0].upper() + words[1:] + end


def thing(rng: Random, nouns: tuple[Noun, ...] = BEINGS) -> Thing:
    """Draw a noun phrase; one in three has a quality."""
    quality = rng.choice(QUALITIES) if rng.randrange(3) == 0 else ""
    return Thing(rng.choice(nouns), rng.randrange(2) == 0, quality)


def clause(rng: Random, *, transitive: bool | None = None) -> Clause:
    """Draw a clause; agent and patient are different nouns, so that every question about them has one answer."""
    kind = rng.randrange(3) if transitive is None else rng.randrange(2) if transitive else 2
    agent = thing(rng)
    patient = None
    if kind < 2:
        nouns = (BEINGS, OBJECTS)[kind]
        patient = thing(rng, tuple(noun for noun in nouns if noun != agent.noun))
    return Clause(
        agent,
        rng.choice((TO_BEINGS, TO_OBJECTS, ALONE)[kind]),
        patient,
        rng.choice(TENSES),
        negated=rng.randrange(5) == 0,
        place=rng.choice(PLACES) if rng.randrange(3) == 0 else "",
        timed=rng.randrange(2) == 0,
    )


def joined(rng: Random) -> tuple[str, str, str]:
    """Draw a clause, a word that joins, and the clause that the word begins, in which English has no future."""
    first, second = (replace(clause(rng), timed=False) for _ in range(2))
    if second.tense == "future":
        second = replace(second, tense="present")
    return write(first), rng.choice(JOINING), write(second)
