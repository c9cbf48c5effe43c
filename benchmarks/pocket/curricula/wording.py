"""The same in other words: synonyms and opposites, both voices, negation, number and tense of a sentence.

Each prompt names one change and the completion makes it, so that what a change does to words and what it leaves alone
is a judged skill. Nothing is ever asked about two sentences at once.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from benchmarks.pocket.curricula.english import (
    OPPOSITES,
    SAME_VERBS,
    SAME_WORDS,
    TENSES,
    Clause,
    clause,
    joined,
    sentence,
    write,
)
from benchmarks.pocket.curricula.item import Item


def _item(request: str, given: str, wanted: str) -> Item:
    return Item(f"{request}: {given}\n", wanted)


def _word(rng: Random) -> Item:
    if rng.randrange(4) == 0:
        pair = rng.choice(OPPOSITES)
        request = "The opposite of"
    else:
        verbs = rng.choice(SAME_VERBS)
        # Without a sentence around it, a past that is also a participle would have two answers (began, begun).
        form = rng.choice(("base", "third", "ing"))
        pair = rng.choice((rng.choice(SAME_WORDS), (getattr(verbs[0], form), getattr(verbs[1], form))))
        request = "Another word for"
    given, wanted = rng.sample(pair, 2)
    # The sentence keeps the few pairs from being the same few documents over and over.
    shown = sentence(write(clause(rng)))
    return Item(f"{shown} {request} {given}:", f" {wanted}")


def _swapped_word(rng: Random) -> Item:
    drawn = clause(rng)
    if rng.randrange(2):
        given, wanted = rng.sample(rng.choice(SAME_WORDS), 2)
        one = replace(drawn, agent=replace(drawn.agent, quality=given))
        other = replace(drawn, agent=replace(drawn.agent, quality=wanted))
    else:
        first, second = rng.sample(rng.choice(SAME_VERBS), 2)
        given, one, other = first.base, replace(drawn, verb=first), replace(drawn, verb=second)
    passive = drawn.patient is not None and rng.randrange(3) == 0
    one_written, other_written = (sentence(write(each, passive=passive)) for each in (one, other))
    return _item(f"Another word for {given}", one_written, other_written)


def _voice(rng: Random) -> Item:
    drawn = clause(rng, transitive=True)
    active, passive = sentence(write(drawn)), sentence(write(drawn, passive=True))
    return _item("Say in the passive", active, passive) if rng.randrange(2) else _item("In the active", passive, active)


def _changed(rng: Random) -> Item:
    drawn = clause(rng)
    agent = drawn.agent
    changes: tuple[tuple[str, Clause], ...] = (
        ("Say no to" if not drawn.negated else "Say yes to", replace(drawn, negated=not drawn.negated)),
        ("Only one" if agent.plural else "Several", replace(drawn, agent=replace(agent, plural=not agent.plural))),
        *((f"In the {tense}", replace(drawn, tense=tense)) for tense in TENSES if tense != drawn.tense),
    )
    request, changed = rng.choice(changes)
    return _item(request, sentence(write(drawn)), sentence(write(changed)))


def _order(rng: Random) -> Item:
    first, word, second = joined(rng)
    late, early = sentence(f"{first} {word} {second}"), sentence(f"{word} {second}, {first}")
    return _item(f"Begin with {word}", late, early) if rng.randrange(2) else _item(f"With {word} inside", early, late)


def generate(rng: Random) -> Item:
    """Draw one request; the completion is the only sentence or word that answers it."""
    forms = (_word, _swapped_word, _voice, _changed, _order)
    return rng.choices(forms, weights=(2, 4, 4, 5, 2))[0](rng)
