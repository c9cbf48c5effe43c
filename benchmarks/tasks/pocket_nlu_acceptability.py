"""`pocket-nlu-acceptability`: is a sentence grammatical? For the base `pocket-t5`, in the role of CoLA.

The base has read sentences of a related grammar about other people, and has repaired some kinds of faults; it was
never asked for a judgement. Half of the sentences here have one fault: agreement (also across a phrase or a clause in
between), the form after an auxiliary, a word of time against the tense, a determiner against the number, a missing or
an exchanged word, a doubled one, a pronoun's case. As for CoLA (Warstadt et al., TACL 2019, arXiv 1805.12471) the
metric is the Matthews correlation, 0 for whoever guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import ClassVar

from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.judging import JudgingTask

SIZES: dict[Split, int] = {"train": 256, "validation": 256, "test": 512}

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
ACCEPTABLE, UNACCEPTABLE = " acceptable", " unacceptable"


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
    """Write a determiner, perhaps an adjective, and a noun; a fault takes a determiner of the other number."""
    own, foreign = (PLURAL, SINGULAR) if plural else (SINGULAR, PLURAL)
    determiner = rng.choice(own)
    if determiner == "the":
        words = [Word("the", "the-many" if plural else "determiner")]
    else:
        wrong = rng.choice([word for word in foreign if word not in ("the", "some")])
        words = [Word(determiner, "quantity" if plural else "determiner", wrong, "number")]
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


def _clause(rng: Random, *, timed: bool) -> Sentence:
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


def _replaced(place: str) -> Callable[[Random, Sentence], Sentence | None]:
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


FAULTS: tuple[Callable[[Random, Sentence], Sentence | None], ...] = (
    _replaced("agreement"),
    _replaced("agreement"),
    _replaced("form"),
    _replaced("time"),
    _replaced("number"),
    _replaced("case"),
    _missing,
    _exchanged,
    _doubled,
)


def _written(words: Sentence) -> str:
    text = " ".join(word.text for word in words)
    return text[0].upper() + text[1:] + "."


def generate(rng: Random) -> Example:
    """Draw one sentence, acceptable or with one fault."""
    words = _clause(rng, timed=rng.randrange(3) > 0)
    if rng.randrange(3) == 0:
        words = [*words, Word(rng.choice(JOINING), "joining"), *_clause(rng, timed=False)]
    answer = ACCEPTABLE
    if rng.randrange(2):
        faulty = None
        while faulty is None:
            faulty = rng.choice(FAULTS)(rng, words)
        words, answer = faulty, UNACCEPTABLE
    return Example(prompt=f"Sentence: {_written(words)}\nJudgement:", completion=answer)


class PocketNluAcceptability(JudgingTask):
    """Sentences to be judged; Matthews correlation of the answers with the truth."""

    name: ClassVar[str] = "pocket-nlu-acceptability"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "Matthews correlation"
    base: ClassVar[str] = "pocket-t5"
    sizes: ClassVar[dict[Split, int]] = SIZES
    answers: ClassVar[tuple[str, str]] = (ACCEPTABLE, UNACCEPTABLE)
    recipe: ClassVar[Recipe] = Recipe(steps=200, batch_size=16, learning_rate=2e-3, max_new_tokens=8)

    def draw(self, rng: Random) -> Example:
        """See `DrawnTask.draw`."""
        return generate(rng)

    def marks(self, example: Example) -> set[str]:
        """No sentence comes twice."""
        return {example.prompt}
