from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

import pytest

from benchmarks.pocket.curricula import T5_TOKEN_SHARES
from benchmarks.pocket.pairs import item
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_nlu_paraphrase import EQUIVALENT, SIZES, PocketNluParaphrase, generate

TASK = PocketNluParaphrase()
FINGERPRINT = "ed64e407b42f759a"

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


def sentences(example: Example) -> tuple[str, str]:
    match = re.fullmatch(r"First: (.+)\nSecond: (.+)\nJudgement:", example.prompt)
    assert match
    return match[1], match[2]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("The baker helps the farmers.", "The farmers are assisted by the baker.", True),
        ("The baker helps the farmers.", "The farmers assist the baker.", False),
        ("The baker did not hide the odd lamp.", "The strange lamp was not concealed by the baker.", True),
        ("The baker hid the odd lamp.", "The strange lamp is concealed by the baker.", False),
        ("The baker gave the farmer the lamp.", "The farmer got the lamp from the baker.", True),
        ("The baker bought the lamp from the farmer.", "The baker sold the farmer the lamp.", False),
        ("Before the baker met the farmer, the sailor called the doctor.",
         "The baker encountered the farmer after the doctor was phoned by the sailor.", True),
        ("The bakers are taller than the farmer.", "The bakers are shorter than the farmer.", False),
        ("In the garden, the baker met the farmer.", "The baker met the farmer at the market.", False),
    ],
)  # fmt: skip
def test_the_oracle_reads_sentences(first: str, second: str, same: bool) -> None:
    assert (meaning(first) == meaning(second)) == same


def test_labels_are_true_of_all_examples() -> None:
    for split in SPLITS:
        for example in TASK.examples(split):
            first, second = sentences(example)
            assert first != second
            assert (example.completion == EQUIVALENT) == (meaning(first) == meaning(second)), example


def test_labels_are_true_of_any_draw() -> None:
    for draw in range(4_000):
        example = generate(Random(f"any/{draw}"))
        first, second = sentences(example)
        assert (example.completion == EQUIVALENT) == (meaning(first) == meaning(second)), example


def test_common_words_do_not_tell_the_answer() -> None:
    """The best threshold on the share of common words is right little more often than a constant answer."""
    shares = []
    for split in SPLITS:
        for example in TASK.examples(split):
            one, other = (set(re.findall(r"\w+", text.lower())) for text in sentences(example))
            shares.append((len(one & other) / len(one | other), example.completion == EQUIVALENT))
    best = 0.0
    for threshold in {share for share, _ in shares}:
        right = sum((share >= threshold) == same for share, same in shares) / len(shares)
        best = max(best, right, 1 - right)
    assert best < 0.65


def test_splits_are_balanced_and_share_no_sentence() -> None:
    counted: Counter[str] = Counter()
    for split in SPLITS:
        examples = TASK.examples(split)
        assert len(examples) == SIZES[split]
        assert sum(example.completion == EQUIVALENT for example in examples) * 2 == len(examples)
        counted.update(text for example in examples for text in sentences(example))
    assert set(counted.values()) == {1}


def test_examples_are_the_recorded_ones_on_any_machine() -> None:
    assert TASK.fingerprint() == FINGERPRINT


def test_the_base_has_met_neither_the_sentences_nor_the_format() -> None:
    """None of its texts compares two sentences, and no sentence of the task stands in one."""
    texts = [item(source, index, seed=0).text for source in T5_TOKEN_SHARES for index in range(1_500)]
    everything = "\n".join(texts)
    assert not re.search(r"\bequivalent\b|Judgement|First: |Second: ", everything)
    shown = {text for split in SPLITS for example in TASK.examples(split) for text in sentences(example)}
    assert not [text for text in shown if text in everything]


def test_a_constant_answer_is_right_half_of_the_time() -> None:
    examples = TASK.examples("test")
    assert sum(TASK.scores(examples, [EQUIVALENT] * len(examples))) == len(examples) / 2
