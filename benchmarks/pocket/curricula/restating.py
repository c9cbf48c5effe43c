"""The same plainly: what a sentence says, whatever its voice, its words and their order.

Plainly is the one way of `saying` that all sentences of a meaning share: active, the first of two words, what came
first named first, giving rather than getting, taller rather than shorter.
"""

from __future__ import annotations

from random import Random

from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.meanings import draw_meaning
from benchmarks.pocket.curricula.saying import say, say_plainly


def generate(rng: Random) -> Item:
    """Draw a sentence; the completion says it plainly."""
    meaning = draw_meaning(rng)
    return Item(f"Plainly: {say(rng, meaning)}\n", say_plainly(meaning))
