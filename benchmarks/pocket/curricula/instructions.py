"""Instruction curriculum: short instructions whose constraints a program can verify.

Each asks for a list of words under one or two constraints (how many, which case, which separator, how it starts
or ends). The wanted answer is made unique by naming the words to use, so that it can be judged by equality.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import ANIMALS, CITIES, COLOURS, FRUITS, JOBS
from benchmarks.pocket.curricula.number_words import spell

_GROUPS = {"animals": ANIMALS, "colours": COLOURS, "fruits": FRUITS, "cities": CITIES, "jobs": JOBS}
_SEPARATORS = {"commas": ", ", "dashes": " - ", "slashes": "/", "semicolons": "; ", "spaces": " "}


def _write(rng: Random) -> tuple[str, str]:
    group = rng.choice(tuple(_GROUPS))
    words = rng.sample(_GROUPS[group], rng.randrange(2, 5))
    name, separator = rng.choice(tuple(_SEPARATORS.items()))
    case = rng.choice(("", " in upper case", " in title case", " in reverse order"))
    request = f"Write the {group} {' '.join(words)}{case}, separated by {name}."
    if case == " in upper case":
        words = [word.upper() for word in words]
    elif case == " in title case":
        words = [word.title() for word in words]
    elif case == " in reverse order":
        words = words[::-1]
    return request, separator.join(words)


def _repeat(rng: Random) -> tuple[str, str]:
    word, times = rng.choice(rng.choice(tuple(_GROUPS.values()))), rng.randrange(2, 6)
    return f"Say {word} {spell(times)} times.", " ".join([word] * times)


def _pick(rng: Random) -> tuple[str, str]:
    chosen, rest = rng.sample(tuple(_GROUPS), 2)
    inside = rng.sample(_GROUPS[chosen], 2)
    mixed = inside + rng.sample(_GROUPS[rest], 2)
    rng.shuffle(mixed)
    kept = [word for word in mixed if word in inside]
    return f"Keep only the {chosen}: {', '.join(mixed)}.", ", ".join(kept)


def _sentence(rng: Random) -> tuple[str, str]:
    animal, colour = rng.choice(ANIMALS), rng.choice(COLOURS)
    base = f"the {animal} is {colour}"
    request, answer = rng.choice(
        (
            ("in capital letters", base.upper()),
            ("and end with an exclamation mark", f"{base}!"),
            ("and end with a question mark", f"{base}?"),
            ("and start with Well", f"Well, {base}"),
            ("in quotes", f'"{base}"'),
            ("in brackets", f"({base})"),
        )
    )
    return f"Write that {base}, {request}.", answer


def generate(rng: Random) -> Item:
    """Draw one instruction; the completion is the only response that satisfies it."""
    form = rng.choices((_write, _repeat, _pick, _sentence), weights=(4, 1, 3, 2))[0]
    request, answer = form(rng)
    return Item(f"Instruction: {request}\nResponse:", f" {answer}")
