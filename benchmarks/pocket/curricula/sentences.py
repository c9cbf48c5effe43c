"""Plain English paragraphs: two to five sentences, each drawn by itself, for denoising.

About half of the sentences are of the tasks' grammars (`clauses`, `meanings`). There is nothing to answer; a span that
is taken out of such a text can be put back only by who agrees with whom, which tense a word of time asks for, and which
article, preposition or pronoun has to stand where it stood.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from benchmarks.pocket.curricula.clauses import draw_sentence, written
from benchmarks.pocket.curricula.english import (
    ALONE,
    TENSES,
    TO_BEINGS,
    Clause,
    Thing,
    clause,
    joined,
    predicate,
    sentence,
    thing,
    write,
)
from benchmarks.pocket.curricula.item import Item
from benchmarks.pocket.curricula.meanings import draw_meaning
from benchmarks.pocket.curricula.reserved import free
from benchmarks.pocket.curricula.saying import say

_COUNTED = (("this", "these"), ("that", "those"), ("one", "two"), ("every", "many"), ("each", "some"))
_MODALS = ("can", "must", "may", "should", "could")


def _plain(rng: Random) -> str:
    drawn = clause(rng)
    passive = drawn.patient is not None and rng.randrange(4) == 0
    return sentence(write(drawn, passive=passive, time_first=drawn.timed and rng.randrange(3) == 0))


def _two_clauses(rng: Random) -> str:
    first, word, second = joined(rng)
    form = rng.randrange(4)
    if form == 0:
        return sentence(f"{word} {second}, {first}")
    return sentence(f"{first} {word if form < 3 else rng.choice(('and', 'but'))} {second}")


def _relative(rng: Random) -> str:
    """Write a subject with a relative clause, whose nearest noun need not be the one the verb agrees with."""
    drawn, knower = clause(rng), thing(rng)
    who = predicate(rng.choice(TO_BEINGS), rng.choice(TENSES), plural=drawn.agent.plural)
    verb = predicate(drawn.verb, drawn.tense, plural=drawn.agent.plural, negated=drawn.negated)
    return sentence(f"{drawn.agent} who {who} {knower} {verb}" + (f" {drawn.patient}" if drawn.patient else ""))


def _pronoun(rng: Random) -> str:
    drawn = clause(rng, transitive=True)
    he, him = rng.choice((("he", "him"), ("she", "her"), ("they", "them"), ("we", "us")))
    verb = predicate(rng.choice(ALONE), drawn.tense, plural=he in ("they", "we"))
    other = rng.choice(TO_BEINGS)
    back = predicate(other, drawn.tense, plural=drawn.agent.plural)
    return sentence(rng.choice((f"{he} {verb} and {drawn.agent} {back} {him}", f"{drawn.agent} {back} {him}")))


def _counted(rng: Random) -> str:
    one, many = rng.choice(_COUNTED)
    plural = rng.randrange(2) == 0
    drawn = clause(rng)
    agent = Thing(drawn.agent.noun, plural, drawn.agent.quality, many if plural else one)
    return sentence(write(replace(drawn, agent=agent)))


def _modal(rng: Random) -> str:
    drawn = clause(rng)
    words = [str(drawn.agent), rng.choice(_MODALS), "not" if drawn.negated else "", drawn.verb.base]
    return sentence(" ".join(word for word in (*words, str(drawn.patient or ""), drawn.place) if word))


def question(drawn: Clause, *, passive: bool = False) -> str:
    """Ask whether a clause holds: `does the boy see the cats`."""
    plain = replace(drawn, negated=False)
    words = write(plain, passive=passive)
    subject = str(drawn.patient if passive and drawn.patient is not None else drawn.agent)
    rest = words[len(subject) + 1 :]
    if not passive and drawn.tense in ("present", "past"):
        do = "did" if drawn.tense == "past" else "do" if drawn.agent.plural else "does"
        form = write(replace(plain, tense="future"))[len(subject) + 1 :].removeprefix("will ")
        # The word of time follows the tense of the clause, not that of the form that was borrowed.
        return f"{do} {subject} {form.replace('tomorrow', 'yesterday' if drawn.tense == 'past' else 'every day')}"
    first, after = rest.split(" ", 1)
    return f"{first} {subject} {after}"


def _question(rng: Random) -> str:
    drawn = clause(rng)
    return sentence(question(drawn, passive=drawn.patient is not None and rng.randrange(4) == 0), "?")


def _of_clauses(rng: Random) -> str:
    return written(draw_sentence(rng))


def _of_meanings(rng: Random) -> str:
    return say(rng, draw_meaning(rng))


def generate(rng: Random) -> Item:
    """Draw one paragraph; it has no prompt."""
    forms = (_plain, _two_clauses, _relative, _pronoun, _counted, _modal, _question, _of_clauses, _of_meanings)
    weights = (5, 4, 2, 2, 3, 2, 1, 14, 6)
    drawn = [free(rng, rng.choices(forms, weights=weights)[0]) for _ in range(rng.randrange(2, 6))]
    return Item("", " ".join(drawn))
