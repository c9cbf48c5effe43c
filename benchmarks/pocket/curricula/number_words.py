"""Whole numbers in English words, as far as the curricula need them (0 to 999).

Arithmetic in words and numbers in stories share this one spelling, so that a model meets "forty-seven" and 47 as
two forms of the same thing.
"""

from __future__ import annotations

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth"]


def spell(number: int) -> str:
    """Spell a number: 47 becomes "forty-seven", 210 becomes "two hundred and ten".

    Args:
        number: From 0 to 999.

    Returns:
        The English words.

    Raises:
        ValueError: If the number lies outside 0 to 999.
    """
    if not 0 <= number <= 999:
        raise ValueError(f"number to spell: found {number}, expected 0 to 999")
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_SMALL[hundreds]} hundred" + (f" and {spell(rest)}" if rest else "")
