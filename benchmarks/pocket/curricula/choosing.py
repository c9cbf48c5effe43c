"""Which of a few sentences are well formed, and which of them say the same as another one.

Each of them may be or not, so that every sentence has to be judged by itself; the answer names the letters. Only some
faults of `clauses` (`COMPARED`) and some meanings (`KINDS`) are met here, the others in repairs, restatements and plain
text alone.
"""

from __future__ import annotations

from functools import partial
from random import Random

from benchmarks.pocket.curricula.clauses import draw_sentence, written
from benchmarks.pocket.curricula.faults import draw_faulty
from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.meanings import Meaning, change_meaning, draw_meaning
from benchmarks.pocket.curricula.reserved import free, holds_reserved
from benchmarks.pocket.curricula.saying import say

COMPARED = ("agreement", "form", "missing", "exchanged")
KINDS = ("event", "event", "event", "sequence")
LETTERS = "ABCDE"
#: One sentence in so many has two clauses.
JOINED = 6


def _item(question: str, shown: list[tuple[str, bool]]) -> Item:
    lines = [f"{letter}: {text}" for letter, (text, _) in zip(LETTERS, shown, strict=False)]
    right = [letter for letter, (_, chosen) in zip(LETTERS, shown, strict=False) if chosen]
    return Item("\n".join([question, *lines, ""]), ", ".join(right) or "none")


def _right(rng: Random) -> str:
    return written(draw_sentence(rng, joined=JOINED))


def _faulty(rng: Random) -> str:
    return written(draw_faulty(rng, COMPARED, joined=JOINED))


def _well_formed(rng: Random) -> Item:
    shown = []
    for _ in range(rng.randrange(2, 6)):
        right = rng.randrange(2) == 0
        shown.append((free(rng, _right if right else _faulty), right))
    return _item("Well formed?", shown)


def _said(rng: Random, meaning: Meaning, *, changed: bool) -> str:
    return say(rng, change_meaning(rng, meaning) if changed else meaning)


def _same(rng: Random) -> Item:
    meaning = draw_meaning(rng, KINDS)
    while holds_reserved(given := say(rng, meaning)):
        meaning = draw_meaning(rng, KINDS)
    shown = []
    for _ in range(rng.randrange(2, 5)):
        changed = rng.randrange(2) == 0
        shown.append((free(rng, partial(_said, meaning=meaning, changed=changed)), not changed))
    return _item(f"The same as: {given}", shown)


def generate(rng: Random) -> Item:
    """Draw a few sentences and which of them to choose."""
    return _well_formed(rng) if rng.randrange(2) else _same(rng)
