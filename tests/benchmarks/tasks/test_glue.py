from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks import DATA_TASKS, create_task
from benchmarks.tasks.glue import TASKS
from tests.real_data import write_cola, write_lines

#: A row in the hub's columns, T5's prompt and answer for it, and what a classifier reads.
CASES: dict[str, tuple[dict[str, Any], str, str, tuple[str, ...]]] = {
    "glue-mnli": (
        {"premise": "P", "hypothesis": "H", "label": 1},
        "mnli hypothesis: H premise: P",
        "neutral",
        ("P", "H"),
    ),
    "glue-sst2": ({"sentence": "S", "label": 1}, "sst2 sentence: S", "positive", ("S",)),
    "glue-cola": ({"sentence": "S", "label": 0}, "cola sentence: S", "unacceptable", ("S",)),
    "glue-qnli": (
        {"question": "Q", "sentence": "S", "label": 1},
        "qnli question: Q sentence: S",
        "not_entailment",
        ("Q", "S"),
    ),
    "glue-mrpc": (
        {"sentence1": "A", "sentence2": "B", "label": 1},
        "mrpc sentence1: A sentence2: B",
        "equivalent",
        ("A", "B"),
    ),
    "superglue-boolq": (
        {"question": "Q", "passage": "P", "label": 1},
        "boolq passage: P question: Q",
        "True",
        ("Q", "P"),
    ),
    "superglue-cb": (
        {"premise": "P", "hypothesis": "H", "label": 1},
        "cb hypothesis: H premise: P",
        "contradiction",
        ("P", "H"),
    ),
    "superglue-copa": (
        {"premise": "P", "choice1": "A", "choice2": "B", "question": "cause", "label": 1},
        "copa choice1: A choice2: B premise: P question: cause",
        "choice2",
        ("P cause", "A B"),
    ),
    "superglue-rte": (
        {"premise": "P", "hypothesis": "H", "label": 0},
        "rte hypothesis: H premise: P",
        "entailment",
        ("P", "H"),
    ),
    "superglue-wic": (
        {"word": "W", "sentence1": "A", "sentence2": "B", "label": 0},
        "wic sentence1: A sentence2: B word: W",
        "False",
        ("W A", "B"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_prompts_and_answers_are_t5s(name: str) -> None:
    row, prompt, answer, texts = CASES[name]
    task = DATA_TASKS[name]()
    example = task.example(row)
    assert (example.prompt, example.completion, example.texts) == (prompt, answer, texts)
    assert task.score(example, f" {answer} ") == 1.0
    assert task.score(example, f"{answer} x") == 0.0


def test_all_tasks_of_the_paper_are_there_with_its_epochs() -> None:
    assert [(cls.name, cls.recipe.epochs) for cls in TASKS] == list(
        zip(CASES, (3, 3, 10, 3, 10, 10, 50, 50, 10, 10), strict=True)
    )
    assert {(cls.recipe.batch_size, cls.recipe.learning_rate, cls.recipe.max_length) for cls in TASKS} == {
        (32, 5e-4, 256)
    }


def test_the_official_validation_split_is_scored_and_steps_are_whole_epochs(tmp_path: Path) -> None:
    task = create_task("glue-cola", data=write_cola(tmp_path / "a"))
    sizes = [len(task.examples(split)) for split in ("train", "validation", "test")]
    assert sizes == [22, 2, 6]
    assert task.steps(batch_size=4) == 55
    assert task.edition == create_task("glue-cola", data=write_cola(tmp_path / "b")).edition
    assert task.edition != create_task("glue-cola", data=write_cola(tmp_path / "c", train=23)).edition


@pytest.mark.parametrize(("label", "shown"), [(-1, "-1"), (2, "2"), ("1", "'1'"), (True, "True")])
def test_hidden_and_unknown_labels_are_refused(tmp_path: Path, label: Any, shown: str) -> None:
    for split in ("train", "validation"):
        write_lines(tmp_path / f"{split}.jsonl", [{"sentence": "S", "label": label}])
    with pytest.raises(UsageError, match=rf"column 'label' holds {shown}; expected an integer from 0 to 1"):
        create_task("glue-cola", data=tmp_path).check()
