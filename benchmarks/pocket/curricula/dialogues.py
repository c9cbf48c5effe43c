"""Dialogue curriculum: two turns between a user and an assistant.

The second question leans on what the user said in the first turn, so the answer has to be looked up there; the
first reply is short and always fits. The turn marks `User:` and `Assistant:` are plain text, no special tokens.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import ANIMALS, CITIES, COLOURS, FRUITS, JOBS, PEOPLE


def _introduction(rng: Random) -> tuple[str, str, str, str]:
    name, job, city = rng.choice(PEOPLE)[0], rng.choice(JOBS), rng.choice(CITIES)
    question, answer = rng.choice(
        (
            ("What is my name?", f"Your name is {name}."),
            ("What is my job?", f"You are a {job}."),
            ("Where do I live?", f"You live in {city}."),
        )
    )
    return (
        f"Hello, I am {name}. I am a {job} and I live in {city}.",
        f"Hello {name}, nice to meet you.",
        question,
        answer,
    )


def _favourites(rng: Random) -> tuple[str, str, str, str]:
    animal, colour, fruit = rng.choice(ANIMALS), rng.choice(COLOURS), rng.choice(FRUITS)
    question, answer = rng.choice(
        (
            ("Which animal do I like?", f"You like the {animal}."),
            ("Which colour do I like?", f"You like {colour}."),
            ("Which fruit do I like?", f"You like the {fruit}."),
        )
    )
    opening = f"I like the {animal}, the {fruit} and the colour {colour}."
    return opening, rng.choice(("I will remember that.", "Good to know.", "That sounds nice.")), question, answer


def _list_change(rng: Random) -> tuple[str, str, str, str]:
    words = rng.sample(FRUITS, 3)
    extra = rng.choice([fruit for fruit in FRUITS if fruit not in words])
    opening = f"My list is {', '.join(words)}."
    form = rng.randrange(3)
    if form == 0:
        gone = rng.choice(words)
        return opening, "I have noted it.", f"Remove {gone}.", ", ".join(word for word in words if word != gone)
    if form == 1:
        return opening, "I have noted it.", f"Add {extra}.", ", ".join([*words, extra])
    return opening, "I have noted it.", "Say it in reverse order.", ", ".join(words[::-1])


def generate(rng: Random) -> Item:
    """Draw one dialogue of two turns; the completion is the second reply."""
    opening, reply, question, answer = rng.choice((_introduction, _favourites, _list_change))(rng)
    return Item(f"User: {opening}\nAssistant: {reply}\nUser: {question}\nAssistant:", f" {answer}")
