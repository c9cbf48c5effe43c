from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

import pytest

from benchmarks.pocket.curricula import T5_TOKEN_SHARES
from benchmarks.pocket.pairs import item
from benchmarks.scoring import ScoredExample, task_score
from benchmarks.tasks import pocket_nlu_acceptability as task_module
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_nlu_acceptability import (
    ACCEPTABLE,
    ADJECTIVES,
    FAULTS,
    PEOPLE,
    SIZES,
    THINGS,
    UNACCEPTABLE,
    WITH_NOTHING,
    WITH_PERSON,
    WITH_THING,
    PocketNluAcceptability,
    generate,
)

TASK = PocketNluAcceptability()
FINGERPRINT = "b50d185440d02d65"

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


def sentence(example: Example) -> str:
    match = re.fullmatch(r"Sentence: (.+)\nJudgement:", example.prompt)
    assert match
    return match[1]


def is_grammatical(text: str) -> bool:
    """Parse a sentence by a grammar written apart from the generator, from the words alone."""
    return text[0].isupper() and GRAMMAR.fullmatch(text[0].lower() + text[1:]) is not None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The bakers near the farmer sing.", True),
        ("The bakers near the farmer sings.", False),
        ("This baker who thanks the farmers has not taken these lamps now.", False),
        ("This baker who thanks the farmers has not taken these lamps.", True),
        ("He did not greets them in the garden.", False),
        ("They will follow us tomorrow because every miller is waiting.", True),
        ("They will follow us yesterday.", False),
        ("They will follow us tomorrow because every miller waiting.", False),
    ],
)
def test_the_oracle_knows_its_grammar(text: str, right: bool) -> None:
    assert is_grammatical(text) == right


def test_labels_are_true_of_all_examples() -> None:
    for split in SPLITS:
        for example in TASK.examples(split):
            assert (example.completion == ACCEPTABLE) == is_grammatical(sentence(example)), example


def test_labels_are_true_of_any_draw() -> None:
    for draw in range(3_000):
        example = generate(Random(f"any/{draw}"))
        assert (example.completion == ACCEPTABLE) == is_grammatical(sentence(example)), example


@pytest.mark.parametrize("fault", range(len(FAULTS)))
def test_every_fault_makes_a_sentence_ungrammatical(fault: int) -> None:
    made = 0
    for draw in range(300):
        rng = Random(f"fault/{draw}")
        words = task_module._clause(rng, timed=True)
        faulty = FAULTS[fault](rng, words)
        if faulty is not None:
            assert not is_grammatical(task_module._written(faulty)), faulty
            made += 1
    assert made > 20


def test_splits_are_balanced_and_share_no_sentence() -> None:
    seen: set[str] = set()
    for split in SPLITS:
        examples = TASK.examples(split)
        assert len(examples) == SIZES[split]
        assert sum(example.completion == ACCEPTABLE for example in examples) * 2 == len(examples)
        assert sum(example.completion == ACCEPTABLE for example in examples[:16]) == 8
        sentences = {sentence(example) for example in examples}
        assert len(sentences) == len(examples)
        assert not sentences & seen
        seen |= sentences


def test_examples_are_the_recorded_ones_on_any_machine() -> None:
    assert TASK.fingerprint() == FINGERPRINT


def test_the_base_has_met_neither_the_sentences_nor_the_format() -> None:
    """None of its texts asks for a judgement or gives one, and no sentence of the task stands in one."""
    texts = [item(source, index, seed=0).text for source in T5_TOKEN_SHARES for index in range(1_500)]
    everything = "\n".join(texts)
    assert not re.search(r"\b(un)?acceptable\b|Judgement|Sentence:", everything)
    assert not any(sentence(example) in everything for split in SPLITS for example in TASK.examples(split))


@pytest.mark.parametrize(
    ("generated", "score"),
    [(" acceptable", 1.0), ("acceptable", 1.0), (UNACCEPTABLE, 0.0), (" acceptable acceptable", 0.0), ("", 0.0)],
)
def test_only_the_right_word_counts(generated: str, score: float) -> None:
    assert TASK.score(Example(prompt="", completion=ACCEPTABLE), generated) == score


def test_constant_answers_score_nothing_and_perfect_ones_everything() -> None:
    examples = TASK.examples("test")
    for given, wanted in (
        ([ACCEPTABLE] * len(examples), 0.0),
        (["no class at all"] * len(examples), 0.0),
        ([example.completion for example in examples], 1.0),
    ):
        scored = [
            ScoredExample(
                index=k, prompt=e.prompt, reference=e.completion, generated=text, score=score, turn_scores=(score,)
            )
            for k, (e, text) in enumerate(zip(examples, given, strict=True))
            for score in [TASK.score(e, text)]
        ]
        assert task_score(TASK, scored) == wanted
