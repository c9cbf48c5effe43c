"""Arithmetic curriculum: equations in digits, the same in words, comparisons, and number sequences.

Equations are written as the stories write them (`47+38=85`, one a line), because the worked answers of the
stories and of the fine-tuning tasks lean on exactly this skill. Several equations share one document to save the
overhead of short documents; only the last answer is judged. Numbers go up to 999.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.number_words import spell

#: Equations in one document; always as many, so that where a document ends can be known.
EQUATIONS = 6
_WORD_FOR = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


def _operand(rng: Random) -> int:
    """Draw a number with one, two or three digits; two digits are the most common length."""
    digits = rng.choices((1, 2, 3), weights=(2, 5, 3))[0]
    return rng.randrange(0 if digits == 1 else 10 ** (digits - 1), 10**digits)


def equation(rng: Random) -> tuple[int, str, int, int]:
    """Draw left operand, operator, right operand and result, all within 0 to 999 and without remainder."""
    operator = rng.choices("+-*/", weights=(5, 5, 4, 3))[0]
    if operator == "+":
        left, right = _operand(rng), _operand(rng)
        while left + right > 999:
            left, right = _operand(rng), _operand(rng)
        return left, operator, right, left + right
    if operator == "-":
        left, right = sorted((_operand(rng), _operand(rng)), reverse=True)
        return left, operator, right, left - right
    small = rng.randrange(2, 10)
    large = rng.randrange(1, 999 // small + 1) if rng.random() < 0.5 else rng.randrange(1, 100)
    if operator == "*":
        left, right = (large, small) if rng.random() < 0.7 else (small, large)
        return left, operator, right, small * large
    return small * large, operator, small, large


def _digits(rng: Random) -> Item:
    rows = [equation(rng) for _ in range(EQUATIONS)]
    lines = [f"{left}{operator}{right}={result}" for left, operator, right, result in rows]
    left, operator, right, result = rows[-1]
    return Item("\n".join([*lines[:-1], f"{left}{operator}{right}="]), str(result))


def _words(rng: Random) -> Item:
    left, operator, right, result = equation(rng)
    words = f"{spell(left)} {_WORD_FOR[operator]} {spell(right)}"
    if rng.random() < 0.5:
        return Item(f"Work out {words}.\n", f"{left}{operator}{right}={result}\n{spell(result)}")
    return Item(f"What is {words}?\n", spell(result))


def _spelling(rng: Random) -> Item:
    number = rng.randrange(1000)
    if rng.random() < 0.5:
        return Item(f"Write {number} in words:", f" {spell(number)}")
    return Item(f"Write {spell(number)} in digits:", f" {number}")


def _comparison(rng: Random) -> Item:
    left, right = _operand(rng), _operand(rng)
    while left == right:
        right = _operand(rng)
    larger = rng.random() < 0.5
    prompt = f"Which is {'larger' if larger else 'smaller'}, {left} or {right}?"
    return Item(prompt, f" {max(left, right) if larger else min(left, right)}")


def _sequence(rng: Random) -> Item:
    start, step, length = rng.randrange(0, 60), rng.choice((1, 2, 3, 4, 5, 10)), rng.randrange(4, 8)
    numbers = [start + step * position for position in range(length)]
    if rng.random() < 0.4:
        numbers.reverse()
    shown, following = numbers[:-1], numbers[-1]
    return Item(f"Next after {', '.join(map(str, shown))}:", f" {following}")


def generate(rng: Random) -> Item:
    """Draw one document; the completion is its last result in digits or words, in one form after the equation."""
    form = rng.choices((_digits, _words, _spelling, _comparison, _sequence), weights=(70, 12, 7, 6, 5))[0]
    return form(rng)
