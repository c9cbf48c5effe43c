"""Sentences with one fault, and the sentence as it should be: the verb's form, a missing article, words out of order.

A third of the sentences has no fault and stays as it is. The fault is always one that a single sentence repairs: verbs
are changed and never nouns, the missing article is `the`, and a pair of neighbours that was exchanged is put back. Half
of the sentences are those of `clauses`, with the repairable ones of its faults.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from benchmarks.pocket.curricula.clauses import draw_sentence, written
from benchmarks.pocket.curricula.english import Clause, clause, predicate, sentence, write
from benchmarks.pocket.curricula.faults import REPAIRABLE, with_fault
from benchmarks.pocket.curricula.item import Item


def _wrong_form(rng: Random, drawn: Clause, right: str) -> str:
    """Give the verb the other number, or another form of its main verb."""
    verb = drawn.verb
    wanted = predicate(verb, drawn.tense, plural=drawn.agent.plural, negated=drawn.negated)
    other = predicate(verb, drawn.tense, plural=not drawn.agent.plural, negated=drawn.negated)
    if other == wanted or rng.randrange(3) == 0:
        *auxiliaries, main = wanted.split(" ")
        # A lone base or third person would be taken for the other number.
        form = rng.choice(sorted({verb.base, verb.third} - {main})) if auxiliaries else verb.ing
        other = " ".join([*auxiliaries, form])
    start = len(str(drawn.agent)) + 1
    return right[:start] + other + right[start + len(wanted) :]


def _missing_article(rng: Random, right: str) -> str:
    words = right.split(" ")
    places = [place for place, word in enumerate(words) if word == "the"]
    del words[rng.choice(places)]
    return " ".join(words)


def _exchanged(rng: Random, right: str) -> str:
    """Exchange an article with the word after it, or the auxiliary with the word after it."""
    words = right.split(" ")
    place = rng.choice([place for place, word in enumerate(words[:-1]) if word in ("the", "will", "is", "are", "has")])
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def _of_clauses(rng: Random) -> Item:
    right = draw_sentence(rng)
    shown = with_fault(rng, right, REPAIRABLE) if rng.randrange(3) else None
    return Item(f"Repair: {written(shown or right)}\n", written(right))


def generate(rng: Random) -> Item:
    """Draw a sentence, right or with a fault; the completion is the right one."""
    if rng.randrange(2):
        return _of_clauses(rng)
    drawn = clause(rng)
    if drawn.tense in ("present", "past"):
        # The word of time tells the tense even where the verb is out of form.
        drawn = replace(drawn, timed=True)
    right = write(drawn)
    fault = rng.randrange(6)
    if fault < 2:
        shown = right
    elif fault < 4:
        shown = _wrong_form(rng, drawn, right)
    else:
        shown = _missing_article(rng, right) if fault == 4 else _exchanged(rng, right)
    return Item(f"Repair: {sentence(shown)}\n", sentence(right))
