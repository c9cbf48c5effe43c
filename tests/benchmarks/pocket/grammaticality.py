"""An oracle for the sentences of `curricula.clauses`: a grammar of its own, one regular expression over words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from benchmarks.pocket.curricula.clauses import (
    ADJECTIVES,
    PEOPLE,
    THINGS,
    WITH_NOTHING,
    WITH_PERSON,
    WITH_THING,
)

Verbs = tuple[tuple[str, ...], ...]


def one_of(words: Iterable[str]) -> str:
    return "(?:" + "|".join(words) + ")"


def phrase(nouns: Iterable[str], plural: bool) -> str:
    determiners = "(?:the|these|two|many|some)" if plural else "(?:the|a|this|every|one)"
    return f"{determiners} (?:{one_of(ADJECTIVES)} )?{one_of(noun + 's' * plural for noun in nouns)}"


def either(nouns: Iterable[str]) -> str:
    return one_of(phrase(tuple(nouns), plural) for plural in (False, True))


def verb_phrases(verbs: Verbs, plural: bool) -> dict[str, str]:
    """The verb with its auxiliaries by tense, for a subject of one number."""
    base, third, past, participle, ing = (one_of(verb[form] for verb in verbs) for form in range(5))
    be, have, do, present = ("are", "have", "do", base) if plural else ("is", "has", "does", third)
    return {
        "present": one_of((present, f"{do} not {base}")),
        "past": one_of((past, f"did not {base}")),
        "future": f"will (?:not )?{base}",
        "modal": f"(?:can|must) (?:not )?{base}",
        "progressive": f"{be} (?:not )?{ing}",
        "perfect": f"{have} (?:not )?{participle}",
    }


def subject(plural: bool) -> str:
    persons = either(PEOPLE)
    plain = one_of(verb[0 if plural else 1] for verb in WITH_PERSON)
    past = one_of(verb[2] for verb in WITH_PERSON)
    perfect = f"{'have' if plural else 'has'} {one_of(verb[3] for verb in WITH_PERSON)}"
    relative = f"who {one_of((plain, past, perfect))} {persons}"
    noun = f"{phrase(PEOPLE, plural)}(?: {one_of(('near ' + persons, 'behind ' + persons, relative))})?"
    return one_of((noun, *(("they", "we") if plural else ("he",))))


TIME = {"present": "(?:every day|every week)", "past": "(?:yesterday|last week)", "future": "(?:tomorrow|next week)"}
TIME |= {"progressive": "now"}
PLACE = "(?: (?:in the garden|at the market|near the river|in the kitchen|at the station))?"


def clauses(*, timed: bool) -> str:
    found = []
    objects = ((WITH_PERSON, f" {one_of((either(PEOPLE), 'him', 'them', 'us'))}"), (WITH_THING, f" {either(THINGS)}"))
    for plural in (False, True):
        for verbs, rest in (*objects, (WITH_NOTHING, "")):
            for tense, verb in verb_phrases(verbs, plural).items():
                time = f"(?: {TIME[tense]})?" if timed and tense in TIME else ""
                found.append(f"{subject(plural)} {verb}{rest}{PLACE}{time}")
    return one_of(found)


GRAMMAR = re.compile(f"{clauses(timed=True)}(?: (?:because|while|and|but) {clauses(timed=False)})?\\.")


def is_grammatical(text: str) -> bool:
    """Parse a sentence by a grammar written apart from the generator, from the words alone."""
    return text[0].isupper() and GRAMMAR.fullmatch(text[0].lower() + text[1:]) is not None
