"""Stories of quantities: a question in one to three steps and a worked answer.

The answer writes one equation a line, in the notation of the arithmetic curriculum, and ends with `Answer: N`.
Stories start from 2 to 40 things and change them by 2 to 19; the fine-tuning task `pocket-math` uses other
sentences, other ranges and more steps, so that what is fine-tuned is the transfer and not the template.
Besides plain chains there are groups ("4 boxes with 6 pens in each"), comparisons of two people, and change.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import PEOPLE
from benchmarks.pocket.curricula.number_words import spell
from benchmarks.pocket.curricula.story_templates import (
    CONNECTIVES,
    GROUPS,
    ITEMS,
    OPENINGS,
    QUESTIONS,
    STEPS,
    TITLES,
)

START = range(2, 41)
AMOUNT = range(2, 20)
LARGEST = 250


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _cast(rng: Random) -> dict[str, str]:
    (name, he, him), (other, *_) = rng.sample(PEOPLE, 2)
    return {"name": name, "he": he, "him": him, "other": other, "items": rng.choice(ITEMS)}


def change(rng: Random, total: int) -> tuple[str, int, int]:
    """Draw an operation that keeps the total whole and within 1 to `LARGEST`: operator, operand, new total."""
    while True:
        operator = rng.choices("+-*/", weights=(7, 7, 3, 3))[0]
        operand = rng.choice(AMOUNT) if operator in "+-" else rng.choice((2, 2, 3, 4, 5))
        if operator == "+" and total + operand <= LARGEST:
            return operator, operand, total + operand
        if operator == "-" and operand < total:
            return operator, operand, total - operand
        if operator == "*" and total * operand <= LARGEST:
            return operator, operand, total * operand
        if operator == "/" and total % operand == 0 and total > operand:
            return operator, operand, total // operand


def _step(rng: Random, cast: dict[str, str], operator: str, operand: int) -> str:
    templates = STEPS[operator].get(operand, ()) + STEPS[operator][0]
    number = spell(operand) if rng.random() < 0.15 else str(operand)
    sentence = rng.choice(templates).format(n=number, **cast)
    connective = rng.choice(CONNECTIVES)
    return f"{connective}{sentence}" if connective else _capital(sentence)


def _chain(rng: Random, steps: int) -> tuple[list[str], list[str], int]:
    cast = _cast(rng)
    equations: list[str] = []
    if steps > 1 and rng.random() < 0.25:
        groups, each = rng.randrange(2, 10), rng.randrange(2, 13)
        total = groups * each
        sentences = [rng.choice(GROUPS).format(g=groups, n=each, **cast)]
        equations.append(f"{groups}*{each}={total}")
    else:
        total = rng.choice(START)
        sentences = [rng.choice(OPENINGS).format(n=total, **cast)]
    while len(equations) < steps:
        operator, operand, result = change(rng, total)
        sentences.append(_step(rng, cast, operator, operand))
        equations.append(f"{total}{operator}{operand}={result}")
        total = result
    sentences.append(_capital(rng.choice(QUESTIONS).format(**cast)))
    return sentences, equations, total


def _comparison(rng: Random, steps: int) -> tuple[list[str], list[str], int]:
    cast = _cast(rng)
    name, other, items = cast["name"], cast["other"], cast["items"]
    first, difference = rng.choice(START), rng.choice(AMOUNT)
    more = rng.random() < 0.5 or difference >= first
    second = first + difference if more else first - difference
    sentences = [f"{name} has {first} {items}.", f"{other} has {difference} {'more' if more else 'fewer'} than {name}."]
    equations = [f"{first}{'+' if more else '-'}{difference}={second}"]
    if steps == 1:
        return [*sentences, f"How many {items} does {other} have?"], equations, second
    both = first + second
    return [*sentences, f"How many {items} do they have together?"], [*equations, f"{first}+{second}={both}"], both


def _shopping(rng: Random, steps: int) -> tuple[list[str], list[str], int]:
    cast = _cast(rng)
    price, count = rng.randrange(2, 13), rng.randrange(2, 10)
    cost = price * count
    sentences = [f"One of the {cast['items']} costs {price} coins.", f"{cast['name']} buys {count} of them."]
    equations = [f"{price}*{count}={cost}"]
    if steps == 1:
        return [*sentences, f"How many coins does {cast['he']} pay?"], equations, cost
    paid = cost + rng.choice(AMOUNT)
    sentences += [f"{_capital(cast['he'])} pays with {paid} coins.", f"How many coins does {cast['he']} get back?"]
    return sentences, [*equations, f"{paid}-{cost}={paid - cost}"], paid - cost


def generate(rng: Random) -> Item:
    """Draw one story; the completion is its equations, one a line, and `Answer: N`."""
    steps = rng.choices((1, 2, 3), weights=(2, 3, 6))[0]
    form = rng.choices((_chain, _comparison, _shopping), weights=(8, 1, 1))[0] if steps < 3 else _chain
    sentences, equations, answer = form(rng, steps)
    story = rng.choice(TITLES) + " ".join(sentences) + "\n"
    return Item(story, "\n".join([*equations, f"Answer: {answer}"]))
