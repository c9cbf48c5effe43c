"""An oracle for the sentences of `curricula.saying`: reads what one means, with a dictionary and rules of its own."""

from __future__ import annotations

import re
from typing import Any

# The oracle's own dictionary: every form of a verb -> (what it means, which form it is).
SYNONYMS = {
    "help": "help helps helped helped/assist assists assisted assisted",
    "call": "call calls called called/phone phones phoned phoned",
    "watch": "watch watches watched watched/observe observes observed observed",
    "meet": "meet meets met met/encounter encounters encountered encountered",
    "greet": "greet greets greeted greeted/welcome welcomes welcomed welcomed",
    "buy": "buy buys bought bought/purchase purchases purchased purchased",
    "hide": "hide hides hid hidden/conceal conceals concealed concealed",
    "fix": "fix fixes fixed fixed/repair repairs repaired repaired",
    "gather": "gather gathers gathered gathered/collect collects collected collected",
    "choose": "choose chooses chose chosen/select selects selected selected",
    "break": "break breaks broke broken/smash smashes smashed smashed",
}
MEANING = {form: name for name, rows in SYNONYMS.items() for row in rows.split("/") for form in row.split()}
PAST = {row.split()[2] for rows in SYNONYMS.values() for row in rows.split("/")}
SAME = {"large": "big", "little": "small", "odd": "strange"}
OPPOSITE = {"shorter": "taller", "younger": "older", "poorer": "richer", "slower": "faster"}
GROUP = r"the (?:(?:big|large|small|little|strange|odd) )?\w+"


def group(text: str) -> tuple[str, str, bool]:
    """Read `the odd lamps` as (lamp, strange, several)."""
    *quality, noun = text.removeprefix("the ").split(" ")
    return noun.removesuffix("s"), SAME.get("".join(quality), "".join(quality)), noun.endswith("s")


def event(text: str) -> tuple[Any, ...]:
    """Read one clause: who, does what, to whom, when, and whether not."""
    match = re.fullmatch(
        rf"({GROUP}) (will |is |are |was |were |does |do |did )?(not )?(be )?(\w+)( by)? ({GROUP})", text
    )
    assert match, text
    first, auxiliary, negation, _, verb, by, last = match.groups()
    auxiliary = (auxiliary or "").strip()
    if auxiliary == "will":
        tense = "future"
    elif auxiliary:
        tense = "past" if auxiliary in ("was", "were", "did") else "present"
    else:
        tense = "past" if verb in PAST else "present"
    doer, sufferer = (last, first) if by else (first, last)
    return group(doer), MEANING[verb], group(sufferer), tense, bool(negation)


def meaning(sentence: str) -> Any:
    """Read what a sentence means, by rules of its own."""
    text = (sentence[0].lower() + sentence[1:]).removesuffix(".")
    if match := re.fullmatch(rf"({GROUP}) (?:is|are) (\w+) than ({GROUP})", text):
        one, word, other = match.groups()
        return (group(other), OPPOSITE[word], group(one)) if word in OPPOSITE else (group(one), word, group(other))
    if match := re.fullmatch(rf"({GROUP}) (sold|gave) ({GROUP}) to ({GROUP})", text):
        giver, verb, thing, taker = match.groups()
        return verb, group(giver), group(thing), group(taker)
    if match := re.fullmatch(rf"({GROUP}) (bought|got) ({GROUP}) from ({GROUP})", text):
        taker, verb, thing, giver = match.groups()
        return {"bought": "sold", "got": "gave"}[verb], group(giver), group(thing), group(taker)
    if match := re.fullmatch(rf"({GROUP}) (sold|gave) ({GROUP}) ({GROUP})", text):
        giver, verb, taker, thing = match.groups()
        return verb, group(giver), group(thing), group(taker)
    if match := re.fullmatch(r"(before|after) (.+), (.+)|(.+) (before|after) (.+)", text):
        word, marked, main = match[1] or match[5], match[2] or match[6], match[3] or match[4]
        order = (main, marked) if word == "before" else (marked, main)
        return tuple(map(event, order))
    place = re.search(r"(in the garden|at the market|near the river|in the kitchen|at the station)", text)
    where = place[1] if place else ""
    return event(text.replace(f"{where}, ", "").replace(f" {where}", "") if where else text), where
