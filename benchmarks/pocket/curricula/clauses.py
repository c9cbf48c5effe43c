"""Grammatical sentences whose words know what would be wrong in their place.

One grammar of subjects with phrases and clauses after them, determiners with a number, tenses, pronouns, places and
times. A sentence is a list of words, and a word knows its part and the form that a fault (see `faults`) would put in
its place, so that a fault need not parse what it spoils. The task `pocket-nlu-acceptability` judges these sentences;
the curricula of its base are written in them as well, and `reserved` keeps the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

PEOPLE = ("baker", "farmer", "teacher", "doctor", "sailor", "painter", "driver", "gardener", "miller", "tailor")
THINGS = ("lamp", "book", "basket", "letter", "bottle", "candle", "picture", "coat", "boat", "clock")
ADJECTIVES = ("tall", "young", "clever", "quiet", "tired", "rich", "brave", "small", "happy", "new")
#: base, third person, past, participle, -ing. With a person, with a thing (both need an object), with nothing.
WITH_PERSON = (
    ("visit", "visits", "visited", "visited", "visiting"),
    ("call", "calls", "called", "called", "calling"),
    ("follow", "follows", "followed", "followed", "following"),
    ("greet", "greets", "greeted", "greeted", "greeting"),
    ("thank", "thanks", "thanked", "thanked", "thanking"),
    ("meet", "meets", "met", "met", "meeting"),
)
WITH_THING = (
    ("take", "takes", "took", "taken", "taking"),
    ("find", "finds", "found", "found", "finding"),
    ("hide", "hides", "hid", "hidden", "hiding"),
    ("carry", "carries", "carried", "carried", "carrying"),
    ("buy", "buys", "bought", "bought", "buying"),
    ("choose", "chooses", "chose", "chosen", "choosing"),
)
WITH_NOTHING = (
    ("sing", "sings", "sang", "sung", "singing"),
    ("sleep", "sleeps", "slept", "slept", "sleeping"),
    ("wait", "waits", "waited", "waited", "waiting"),
    ("laugh", "laughs", "laughed", "laughed", "laughing"),
    ("dance", "dances", "danced", "danced", "dancing"),
    ("swim", "swims", "swam", "swum", "swimming"),
)
SINGULAR = ("the", "a", "this", "every", "one")
PLURAL = ("the", "these", "two", "many", "some")
#: The determiner of the other number that cannot stand with a noun; "some baker" can, so that `a` has none.
OTHER_NUMBER = {
    "this": "these",
    "these": "this",
    "every": "many",
    "many": "every",
    "one": "two",
    "two": "one",
    "some": "a",
}
PLACES = (("in", "garden"), ("at", "market"), ("near", "river"), ("in", "kitchen"), ("at", "station"))
TIMES = {
    "present": ("every day", "every week"),
    "past": ("yesterday", "last week"),
    "future": ("tomorrow", "next week"),
    "modal": (),
    "progressive": ("now",),
    "perfect": (),
}
JOINING = ("because", "while", "and", "but")
#: Subject and object form, and whether it is a plural.
PRONOUNS = (("he", "him", False), ("they", "them", True), ("we", "us", True))


@dataclass(frozen=True)
class Word:
    """A word of a sentence with what faults have to know of it.

    Attributes:
        text: The word.
        role: Its part of speech in this grammar.
        other: The form that a fault puts in its place, empty if there is none of this kind.
        place: Which fault that would be: `agreement`, `form`, `time`, `number` or `case`.
    """

    text: str
    role: str
    other: str = ""
    place: str = ""


Sentence = list[Word]


def _phrase(rng: Random, nouns: tuple[str, ...], plural: bool) -> Sentence:
    """Write a determiner, perhaps an adjective, and a noun; a fault takes the determiner of the other number."""
    determiner = rng.choice(PLURAL if plural else SINGULAR)
    role = ("the-many" if determiner == "the" else "quantity") if plural else "determiner"
    wrong = OTHER_NUMBER.get(determiner, "")
    words = [Word(determiner, role, wrong, "number" if wrong else "")]
    if rng.randrange(3) == 0:
        words.append(Word(rng.choice(ADJECTIVES), "adjective"))
    noun = rng.choice(nouns)
    return [*words, Word(noun + "s" if plural else noun, "noun")]


def _finite(many: str, one: str, plural: bool) -> Word:
    return Word(many if plural else one, "verb", one if plural else many, "agreement")


def _verb(rng: Random, verb: tuple[str, ...], tense: str, plural: bool, negated: bool) -> Sentence:
    """Write a verb with its auxiliaries; the finite one carries agreement, the last one its form."""
    base, third, past, participle, ing = verb
    if tense == "present":
        if not negated:
            return [_finite(base, third, plural)]
        words = [_finite("do", "does", plural), Word(base, "main", third, "form")]
    elif tense == "past":
        if not negated:
            return [Word(past, "verb")]
        words = [Word("did", "auxiliary"), Word(base, "main", rng.choice((third, past)), "form")]
    elif tense in ("future", "modal"):
        auxiliary = "will" if tense == "future" else rng.choice(("can", "must"))
        words = [Word(auxiliary, "auxiliary"), Word(base, "main", rng.choice((third, past, ing)), "form")]
    elif tense == "progressive":
        finite = replace(_finite("are", "is", plural), role="auxiliary")
        words = [finite, Word(ing, "main", rng.choice((base, third)), "form")]
    else:
        finite = replace(_finite("have", "has", plural), role="auxiliary")
        words = [finite, Word(participle, "main", rng.choice((base, third, ing)), "form")]
    return [words[0], Word("not", "not"), words[1]] if negated else words


def _subject(rng: Random, plural: bool) -> Sentence:
    """Write a subject; a phrase or a clause after it may end in a noun of the other number."""
    head = _phrase(rng, PEOPLE, plural)
    kind = rng.randrange(6)
    if kind == 0:
        return [
            *head,
            Word(rng.choice(("near", "behind")), "preposition"),
            *_phrase(rng, PEOPLE, rng.randrange(2) == 0),
        ]
    if kind == 1:
        verb = _verb(rng, rng.choice(WITH_PERSON), rng.choice(("present", "past", "perfect")), plural, False)
        return [*head, Word("who", "who"), *verb, *_phrase(rng, PEOPLE, rng.randrange(2) == 0)]
    return head


def clause(rng: Random, *, timed: bool) -> Sentence:
    """Draw one clause; `timed` ones may end with a word of time that fits the tense."""
    plural, tense = rng.randrange(2) == 0, rng.choice(tuple(TIMES))
    if rng.randrange(5) == 0:
        form, wrong, plural = rng.choice(PRONOUNS)
        words = [Word(form, "pronoun", wrong, "case")]
    else:
        words = _subject(rng, plural)
    kind = rng.randrange(5)
    verbs = WITH_PERSON if kind < 2 else WITH_THING if kind < 4 else WITH_NOTHING
    words += _verb(rng, rng.choice(verbs), tense, plural, rng.randrange(4) == 0)
    if kind < 2 and rng.randrange(3) == 0:
        wrong, form, _ = rng.choice(PRONOUNS)
        words.append(Word(form, "pronoun", wrong, "case"))
    elif kind < 4:
        words += _phrase(rng, PEOPLE if kind < 2 else THINGS, rng.randrange(2) == 0)
    if rng.randrange(3) == 0:
        preposition, noun = rng.choice(PLACES)
        words += [Word(preposition, "preposition"), Word("the", "determiner"), Word(noun, "noun")]
    if timed and TIMES[tense]:
        clashing = {"past": "future", "future": "past"}.get(tense)
        other = rng.choice(TIMES[clashing]) if clashing else ""
        words.append(Word(rng.choice(TIMES[tense]), "time", other, "time" if other else ""))
    return words


def draw_sentence(rng: Random, *, joined: int = 4) -> Sentence:
    """Draw a sentence; one in `joined` has two clauses."""
    words = clause(rng, timed=rng.randrange(3) > 0)
    if rng.randrange(joined) == 0:
        words = [*words, Word(rng.choice(JOINING), "joining"), *clause(rng, timed=False)]
    return words


def written(words: Sentence) -> str:
    """Write a sentence out, with its capital and its full stop."""
    text = " ".join(word.text for word in words)
    return text[0].upper() + text[1:] + "."
