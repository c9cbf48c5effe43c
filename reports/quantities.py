"""Numbers as text: significant digits, signs, counts, bytes.

One place decides how a quantity is written, so that table, figure, summary and Markdown never disagree. Digits
stop where a single run's noise starts; full precision is in the CSV files.
"""

from __future__ import annotations

import math
from datetime import datetime

MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def significant(value: float, digits: int = 3) -> str:
    """Write `value` with `digits` significant digits, as a power of ten outside 0.001 .. 99,999."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0.0:
        return "0"
    mantissa, exponent_text = f"{abs(value):.{digits - 1}e}".split("e")
    exponent = int(exponent_text)
    sign = MINUS if value < 0 else ""
    if exponent < -3 or exponent >= 5:
        return f"{sign}{mantissa}×10{str(exponent).translate(_SUPERSCRIPTS)}"
    decimals = max(0, digits - 1 - exponent)
    rounded = float(f"{mantissa}e{exponent}")
    return f"{sign}{rounded:,.{decimals}f}"


def setting(value: float) -> str:
    """Write a chosen value, such as a radius, as short as it is exact to four digits."""
    return f"{value:.4g}".replace("-", MINUS)


def whole(value: float) -> str:
    """Write a count with thousands separators."""
    return f"{value:,.0f}"


def gibibytes(size: float) -> str:
    """Write a number of bytes in GiB (2^30 bytes), without its unit."""
    return f"{size / 2**30:.2f}"


def ratio(value: float) -> str:
    """Write a multiple of a reference, such as a cost relative to the baseline's."""
    return f"{value:.2f}×"


def moment(stored: str) -> str:
    """Write a stored ISO 8601 time for reading; text that is no such time is returned as it is."""
    try:
        time = datetime.fromisoformat(stored)
    except ValueError:
        return stored
    zone = f" {time.tzname()}" if time.tzinfo else ""
    return f"{time.day} {time:%B %Y, %H:%M}{zone}"


def spoken(number: int, noun: str) -> str:
    """Write a count with its noun in words up to ten: `one seed`, `three seeds`, `12 seeds`."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    word = words[number] if 0 <= number < len(words) else whole(number)
    return f"{word} {noun}" if number == 1 else f"{word} {noun}s"
