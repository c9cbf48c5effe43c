from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks import DATA_TASKS, SPLITS, Message, create_task
from benchmarks.tasks.instruction_sets import final_answer
from tests.real_data import write_lines

HEAD = "Below is an instruction that describes a task"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("metamathqa", {"query": "Q", "response": "R"}),
        ("code-feedback", {"query": "Q", "answer": "R"}),
        ("wizardlm", {"instruction": "Q", "output": "R"}),
        ("alpaca-cleaned", {"instruction": "Q", "input": "", "output": "R"}),
    ],
)
def test_columns_become_alpacas_prompt_and_a_message(name: str, row: dict[str, str]) -> None:
    example = DATA_TASKS[name]().example(row)
    assert example.prompt == (
        f"{HEAD}. Write a response that appropriately completes the request.\n\n### Instruction:\nQ\n\n### Response:\n"
    )
    assert (example.completion, example.messages) == ("R", (Message(role="user", content="Q"),))


def test_an_input_has_a_section_of_its_own() -> None:
    example = DATA_TASKS["alpaca-cleaned"]().example({"instruction": "Q", "input": "I", "output": "R"})
    assert example.prompt.startswith(f"{HEAD}, paired with an input that provides further context. ")
    assert "### Instruction:\nQ\n\n### Input:\nI\n\n### Response:\n" in example.prompt
    assert example.messages[0].content == "Q\n\nI"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So 3+4.\nThe answer is: 7", "7"),
        ("The answer is 3. Wait.\nThe answer is: $1,200.", "1200"),
        (r"The answer is: \frac{1}{2}", r"\frac{1}{2}"),
        ("seven", None),
    ],
)
def test_the_final_answer_is_the_last_one_without_decoration(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_variants_of_a_problem_are_held_out_together_and_what_is_scored_has_an_answer(tmp_path: Path) -> None:
    rows = [
        {
            "query": f"variant {n}",
            "original_question": f"problem {n % 40}",
            "response": f"The answer is: {n}" if n % 4 else "none",
        }
        for n in range(200)
    ]
    task = create_task("metamathqa", data=write_lines(tmp_path / "m.jsonl", rows))
    problem = {row["query"]: row["original_question"] for row in rows}
    found = {split: {problem[example.messages[0].content] for example in task.examples(split)} for split in SPLITS}
    assert not found["train"] & (found["validation"] | found["test"])
    assert not found["validation"] & found["test"]
    assert all(task.score(example, example.completion) == 1.0 for example in task.examples("test"))


def test_a_column_of_another_kind_is_named(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "w.jsonl", [{"instruction": 7, "output": "R"}] * 3)
    with pytest.raises(UsageError, match=r"wizardlm: column 'instruction' holds 7 \(int\); expected text"):
        create_task("wizardlm", data=file).check()
