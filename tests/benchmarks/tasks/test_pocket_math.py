from __future__ import annotations

import hashlib
import itertools
import re
from typing import Any

import pytest
from transformers import AutoTokenizer

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.curricula import CURRICULA, draw, stories, story_templates
from benchmarks.tasks import pocket_math
from benchmarks.tasks.base import SPLITS, Example
from benchmarks.tasks.pocket_math import PocketMath, final_answer
from tests.benchmarks.pocket.equations import check_chain, parts

TASK = PocketMath()
ALL = [example for split in SPLITS for example in TASK.examples(split)]

# Changes only together with `PocketMath.version`: stored scores belong to these very examples.
DIGEST = "1cd444a1d91fb39f"


def test_splits_are_the_recorded_ones_on_any_machine() -> None:
    text = "\0".join(
        f"{split}\1{example.prompt}\1{example.completion}" for split in SPLITS for example in TASK.examples(split)
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGEST


def test_splits_have_their_sizes_and_share_nothing() -> None:
    assert {split: len(TASK.examples(split)) for split in SPLITS} == pocket_math.SIZES
    assert len({example.prompt for example in ALL}) == len(ALL)
    assert len({example.completion for example in ALL}) == len(ALL)


def test_worked_answers_hold() -> None:
    for example in ALL:
        *equations, marker = example.completion.split("\n")
        assert len(equations) in (3, 4)
        assert marker == f"#### {check_chain(equations)}"


def test_equations_follow_the_sentences() -> None:
    """Read every sentence by its template; its operator and number must be those of its equation."""
    readings = {
        operator: [re.compile(_pattern(template)) for template in templates]
        for operator, templates in pocket_math.STEPS.items()
    }
    for example in ALL:
        opening, *steps, question = example.prompt.removesuffix("\n").replace("?", ".").rstrip(".").split(". ")
        equations = [parts(equation) for equation in example.completion.split("\n")[:-1]]
        assert question == "How many"
        assert int(re.findall(r"\d+", opening)[0]) == equations[0][0]
        assert len(steps) == len(equations)
        for sentence, (_, operator, operand, _) in zip(steps, equations, strict=True):
            matching = {name for name, patterns in readings.items() for p in patterns if p.fullmatch(sentence)}
            assert matching == {operator}, sentence
            assert int(re.findall(r"\d+", sentence)[0]) == operand


def _pattern(template: str) -> str:
    filled = re.escape(template.removesuffix("."))
    for slot, values in {"n": r"\d+", "he": "[Ss]?[Hh]e", "him": "h(?:er|im)", "other": "[A-Z][a-z]+"}.items():
        filled = filled.replace(re.escape(f"{{{slot}}}"), values)
    return filled


def _skeleton(template: str) -> str:
    """A sentence without what fills it: lower case, slots and plural of the things removed."""
    return " ".join(re.sub(r"\{\w+\}", "_", template).lower().replace("_", " ").split())


def test_sentences_are_not_those_of_the_pretraining_stories() -> None:
    changes = itertools.chain.from_iterable(table.values() for table in story_templates.STEPS.values())
    pretraining = {
        *story_templates.OPENINGS,
        *story_templates.GROUPS,
        *story_templates.QUESTIONS,
        *itertools.chain.from_iterable(changes),
    }
    own = {*pocket_math.OPENINGS, *itertools.chain.from_iterable(pocket_math.STEPS.values()), pocket_math.QUESTION}
    assert not {_skeleton(sentence) for sentence in own} & {_skeleton(sentence) for sentence in pretraining}
    assert not set(pocket_math.ITEMS) & set(story_templates.ITEMS)


def test_number_ranges_are_not_those_of_the_pretraining_stories() -> None:
    assert not set(pocket_math.START) & set(stories.START)
    assert not set(pocket_math.AMOUNT) & set(stories.AMOUNT)
    for example in ALL:
        first = parts(example.completion.split("\n")[0])
        assert first[0] in pocket_math.START


def test_no_pretraining_document_holds_the_marker_or_a_sentence_of_the_task() -> None:
    own = [re.compile(_pattern(t)) for table in pocket_math.STEPS.values() for t in table]
    for index in range(1_500):
        text = draw("stories", CURRICULA["stories"], index).text
        assert "####" not in text
        sentences = re.split(r"[.?]\s", text)
        assert not any(pattern.fullmatch(sentence) for sentence in sentences for pattern in own), text


@pytest.mark.parametrize(
    ("generated", "score"),
    [
        ("41+22=63\n#### 63", 1.0),
        ("anything\n#### 63\n", 1.0),
        ("#### 63 ", 1.0),
        ("41+22=63\n#### 64", 0.0),
        ("41+22=63\n#### 63\nand on", 0.0),
        ("41+22=63", 0.0),
        ("41+22=63\n#### 63.5", 0.0),
        ("####63", 0.0),
        ("", 0.0),
    ],
)
def test_score_reads_the_last_line_only(generated: str, score: float) -> None:
    assert TASK.score(Example(prompt="", completion="41+22=63\n#### 63"), generated) == score


def test_references_score_one() -> None:
    assert all(TASK.score(example, example.completion) == 1.0 for example in ALL)
    assert final_answer("no marker") is None


def test_unknown_split_is_refused() -> None:
    wrong: Any = "dev"
    with pytest.raises(ValueError, match="found 'dev', expected one of train, validation, test"):
        TASK.examples(wrong)


def test_every_answer_fits_the_recipe() -> None:
    tokenizer = AutoTokenizer.from_pretrained(POCKET_MODELS / "pocket-llama", local_files_only=True)
    lengths = [(len(tokenizer(e.prompt)["input_ids"]), len(tokenizer(e.completion)["input_ids"])) for e in ALL]
    # Without <bos> and with <eos>, the completion has as many tokens as it is encoded to here.
    assert max(completion for _, completion in lengths) <= TASK.recipe.max_new_tokens
    assert sum(prompt + completion for prompt, completion in lengths) / len(ALL) < 72
