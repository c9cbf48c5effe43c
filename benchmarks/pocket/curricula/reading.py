"""Questions about two or three sentences: who did it, to whom, and whether something is so.

A question may be put in the other voice, with another word, with the two exchanged or about the contrary, so that its
answer lies in what a sentence means and not in which words it has.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from benchmarks.pocket.curricula.english import (
    BEINGS,
    OBJECTS,
    SAME_VERBS,
    Clause,
    clause,
    predicate,
    sentence,
    thing,
    write,
)
from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.sentences import question

_TWINS = {first: second for pair in SAME_VERBS for first, second in (pair, pair[::-1])}


def _text(rng: Random, drawn: Clause) -> str:
    """Write the clause among one or two others that share none of its beings."""
    nouns = {drawn.agent.noun, drawn.patient.noun if drawn.patient else None}
    others: list[Clause] = []
    while len(others) < rng.randrange(1, 3):
        other = clause(rng)
        if not nouns & {other.agent.noun, other.patient.noun if other.patient else None}:
            others.append(other)
    written = [sentence(write(each, passive=each.patient is not None and rng.randrange(3) == 0)) for each in others]
    written.insert(rng.randrange(len(written) + 1), sentence(write(drawn, passive=rng.randrange(2) == 0)))
    return " ".join(written)


def _who(rng: Random) -> Item:
    drawn = replace(clause(rng, transitive=True), negated=False)
    assert drawn.patient is not None
    shown = _text(rng, drawn)
    if rng.randrange(2):
        asked = predicate(drawn.verb, drawn.tense, plural=False)
        return Item(f"{shown} Who {asked} {drawn.patient}?\n", sentence(str(drawn.agent)))
    asked = predicate(drawn.verb, drawn.tense, plural=False, passive=True)
    return Item(f"{shown} Who or what {asked} by {drawn.agent}?\n", sentence(str(drawn.patient)))


def _whether(rng: Random) -> Item:
    drawn, change = clause(rng, transitive=True), rng.randrange(4)
    if change < 2:
        # Of a clause that is denied nothing follows for another one.
        drawn = replace(drawn, negated=False)
    patient = drawn.patient
    assert patient is not None
    asked, holds = drawn, not drawn.negated
    if change == 0:
        asked, holds = replace(drawn, agent=patient, patient=drawn.agent), False
    elif change == 1:
        nouns = tuple(noun for noun in BEINGS + OBJECTS if noun not in (patient.noun, drawn.agent.noun))
        asked, holds = replace(drawn, patient=thing(rng, nouns)), False
    elif change == 2:
        asked = replace(drawn, verb=_TWINS.get(drawn.verb, drawn.verb))
    shown = _text(rng, drawn)
    put = sentence(question(asked, passive=rng.randrange(2) == 0), "?")
    return Item(f"{shown} {put}\n", "Yes." if holds else "No.")


def generate(rng: Random) -> Item:
    """Draw a short text with a question; the completion is its answer."""
    return rng.choices((_who, _whether), weights=(2, 3))[0](rng)
