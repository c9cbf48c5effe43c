"""List curriculum: one operation on a short Python list of numbers or words, and its result.

Results are what Python prints, so that the same skill serves the code task. Lists have two to seven entries.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.lexicon import ANIMALS, COLOURS, FRUITS

Numbers = list[int]
_PLAIN: dict[str, Callable[[Numbers], object]] = {
    "reverse": lambda values: values[::-1],
    "sort": sorted,
    "sum": sum,
    "max": max,
    "min": min,
    "len": len,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "drop the first": lambda values: values[1:],
    "drop the last": lambda values: values[:-1],
    "add one to each": lambda values: [value + 1 for value in values],
    "double each": lambda values: [2 * value for value in values],
    "keep the even": lambda values: [value for value in values if value % 2 == 0],
    "keep the odd": lambda values: [value for value in values if value % 2],
    "unique": lambda values: list(dict.fromkeys(values)),
    "every second": lambda values: values[::2],
}


def _numbers(rng: Random) -> Item:
    values = [rng.randrange(rng.choice((10, 30, 100))) for _ in range(rng.randrange(2, 8))]
    name, operation = rng.choice(tuple(_PLAIN.items()))
    if name == "unique":
        values = [rng.choice(values) for _ in values]
    if name == "sum":
        values = values[:4]
    return Item(f"{name} {values} ->", f" {operation(values)}")


def _with_argument(rng: Random) -> Item:
    values = [rng.randrange(20) for _ in range(rng.randrange(3, 8))]
    form = rng.randrange(5)
    if form == 0:
        wanted = rng.choice(values)
        return Item(f"count {wanted} in {values} ->", f" {values.count(wanted)}")
    if form == 1:
        added = rng.randrange(20)
        return Item(f"append {added} to {values} ->", f" {[*values, added]}")
    if form == 2:
        limit = rng.randrange(3, 17)
        return Item(f"keep above {limit} from {values} ->", f" {[value for value in values if value > limit]}")
    if form == 3:
        position = rng.randrange(len(values))
        return Item(f"index {position} of {values} ->", f" {values[position]}")
    wanted = rng.choice([*values, rng.randrange(20)])
    return Item(f"is {wanted} in {values} ->", f" {wanted in values}")


def _words(rng: Random) -> Item:
    words = rng.sample(rng.choice((ANIMALS, COLOURS, FRUITS)), rng.randrange(2, 6))
    form = rng.randrange(4)
    if form == 0:
        return Item(f"reverse {words} ->", f" {words[::-1]}")
    if form == 1:
        return Item(f"sort {words} ->", f" {sorted(words)}")
    if form == 2:
        return Item(f"longest {words} ->", f" {max(words, key=len)}")
    return Item(f"join {words} with '-' ->", f" {'-'.join(words)}")


def generate(rng: Random) -> Item:
    """Draw one list operation; the completion is the result as Python prints it."""
    form = rng.choices((_numbers, _with_argument, _words), weights=(5, 3, 2))[0]
    return form(rng)
