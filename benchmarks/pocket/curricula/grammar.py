"""Simple English from a small grammar: who holds what, where things are, and what became of them.

Each document is a few sentences and a question about them, so that plain reading is a judged skill too. Verbs of
gaining, passing on and losing appear here without numbers: this is where a model learns what "lends" or
"misplaces" means, as a larger model would from its ordinary pretraining text.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import (
    COLOURS,
    EXCHANGING,
    GAINING,
    HAPPENINGS,
    JOBS,
    LOSING,
    PASSING,
    PEOPLE,
    PLACES,
    SIZES,
    THINGS,
)


def _person(rng: Random) -> str:
    return rng.choice(PEOPLE)[0] if rng.random() < 0.7 else f"the {rng.choice(JOBS)}"


def _two_people(rng: Random) -> tuple[str, str]:
    first, second = _person(rng), _person(rng)
    while first == second:
        second = _person(rng)
    return first, second


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _transfers(rng: Random) -> Item:
    """Follow one thing through one to three events; the question is who has it."""
    first, second = _two_people(rng)
    thing = rng.choice(THINGS)[0]
    sentences = [f"{first} {rng.choice(GAINING)} a {thing}." if thing[0] not in "aeio" else f"{first} has the {thing}."]
    holder: str | None = first
    for _ in range(rng.randrange(1, 4)):
        away = second if holder == first else first
        kind = rng.randrange(3)
        if kind == 0:
            sentences.append(f"{holder} {rng.choice(PASSING)} the {thing} to {away}.")
            holder = away
        elif kind == 1:
            sentences.append(f"{away} {rng.choice(GAINING)} the {thing} from {holder}.")
            holder = away
        else:
            sentences.append(f"{holder} {rng.choice(LOSING)} the {thing}.")
            holder = None
            break
    answer = f"{holder} has the {thing}." if holder else f"Nobody has the {thing} now."
    question = f"Who has the {thing}?\n"
    return Item(" ".join(map(_capital, sentences)) + " " + question, _capital(answer))


def _amounts(rng: Random) -> Item:
    """Say in words only whether a person's things have become more or fewer."""
    first, second = _two_people(rng)
    things = rng.choice(THINGS)[1]
    some = rng.choice(("some", "a few", "several", "two", "many"))
    sentence, more = rng.choice(
        (
            (f"{first} {rng.choice(GAINING)} {some} {things}.", True),
            (f"{second} {rng.choice(PASSING)} {some} {things} to {first}.", True),
            (f"{first} {rng.choice(PASSING)} {some} {things} to {second}.", False),
            (f"{first} {rng.choice(LOSING)} {some} {things}.", False),
            (f"{second} {rng.choice(GAINING)} {some} {things} from {first}.", False),
        )
    )
    question = f"Does {first} have more or fewer {things} now?\n"
    return Item(f"{_capital(sentence)} {question}", "More." if more else "Fewer.")


def _happening(rng: Random) -> Item:
    colour, (_, things), place = rng.choice(COLOURS), rng.choice(THINGS), rng.choice(PLACES)
    happening, state = rng.choice(tuple(HAPPENINGS.items()))
    some, those = rng.choice((("Some", "The"), ("A few", "Those few"), ("Several", "All those"), ("Many", "Those")))
    sentence = f"{some} {colour} {things} are in the {place}. {those} {things} {happening}."
    return Item(f"{sentence} How are the {things} now?\n", f"The {things} are {state}.")


def _exchange(rng: Random) -> Item:
    first, second = _two_people(rng)
    (one, given), (other, taken) = rng.sample(THINGS, 2)
    verb = rng.choice(EXCHANGING)
    if rng.random() < 0.5:
        sentence = f"{first} {verb} every {one} for one {other} of {second}."
    else:
        sentence = f"{first} {verb} the {given} for {taken} of {second}."
    return Item(f"{_capital(sentence)} What does {first} have now?\n", f"{_capital(taken)}.")


def _remainder(rng: Random) -> Item:
    (one, _), (other, _) = rng.sample(THINGS, 2)
    person, place = _person(rng), rng.choice(PLACES)
    verb = rng.choice((*GAINING[:4], "removes", *LOSING))
    sentences = f"The {place} holds one {one} and one {other}. {_capital(person)} {verb} the {one}."
    return Item(f"{sentences} Which one remains?\n", f"The {other} remains.")


def _places(rng: Random) -> Item:
    people = rng.sample(PEOPLE, 3)
    places = rng.sample(PLACES, 3)
    verbs = ("is in", "walks to", "sits in", "works in", "runs to", "sleeps in")
    sentences = [f"{person[0]} {rng.choice(verbs)} the {place}." for person, place in zip(people, places, strict=True)]
    asked = rng.randrange(3)
    return Item(" ".join(sentences) + f" Where is {people[asked][0]}?\n", f"In the {places[asked]}.")


def _qualities(rng: Random) -> Item:
    things = rng.sample(THINGS, 3)
    colours, sizes = rng.sample(COLOURS, 3), rng.sample(SIZES, 3)
    described = zip(things, colours, sizes, strict=True)
    sentences = [f"The {size} {thing[0]} is {colour}." for thing, colour, size in described]
    asked = rng.randrange(3)
    if rng.random() < 0.5:
        return Item(" ".join(sentences) + f" What colour is the {things[asked][0]}?\n", f"{_capital(colours[asked])}.")
    return Item(" ".join(sentences) + f" Which thing is {colours[asked]}?\n", f"The {sizes[asked]} {things[asked][0]}.")


def generate(rng: Random) -> Item:
    """Draw one short text with a question; the completion is its answer."""
    forms = (_transfers, _amounts, _happening, _exchange, _remainder, _places, _qualities)
    return rng.choices(forms, weights=(4, 3, 1, 1, 1, 5, 5))[0](rng)
