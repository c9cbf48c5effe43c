from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks import create_task
from benchmarks.tasks.own_data import own_data
from tests.real_data import chats, pairs, write_lines


def test_a_file_is_split_by_hash_and_named_after_itself(tmp_path: Path) -> None:
    task = create_task(f"jsonl:{write_lines(tmp_path / 'my notes.jsonl', pairs(30))}")
    assert task.name == "jsonl-my-notes"
    assert [len(task.examples(split)) for split in ("train", "validation", "test")] == [24, 3, 3]
    again = create_task(task.name, data=tmp_path / "my notes.jsonl")
    assert again.edition == task.edition
    assert again.name == task.name


def test_every_answer_of_a_chat_is_a_turn_after_the_true_ones_before_it(tmp_path: Path) -> None:
    task = own_data(write_lines(tmp_path / "c.jsonl", chats(3)))
    first, second = task.turns(task.example(chats(1)[0]))
    assert first.prompt == "system says 0.0\nUser: user says 0.1\nAssistant:"
    assert first.completion == "assistant says 0.2"
    assert second.prompt == (
        "system says 0.0\nUser: user says 0.1\nAssistant: assistant says 0.2\nUser: user says 0.3\nAssistant:"
    )
    assert [m.role for m in second.messages] == ["system", "user", "assistant", "user"]


def test_a_chat_and_its_beginning_are_never_apart(tmp_path: Path) -> None:
    said = [{"role": role, "content": role} for role in ("user", "assistant")]
    openings = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(40)]
    rows = [{"messages": chat} for opening in openings for chat in (opening, opening + said)]
    task = own_data(write_lines(tmp_path / "c.jsonl", rows))
    begun = {
        split: {task.turns(example)[0].prompt for example in task.examples(split)}
        for split in ("train", "validation", "test")
    }
    assert all(begun.values())
    assert sum(map(len, begun.values())) == len(set().union(*begun.values())) == 40


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"question": "Q", "answer": "A"}] * 3,
            "has the columns question, answer; expected instruction and response, or",
        ),
        ([{"instruction": "Q"}] * 3, "row 1 of .* has the columns instruction; jsonl-f expects instruction, response"),
        ([{"messages": "hello"}] * 3, "column 'messages' holds 'hello'; expected a list of"),
        ([{"messages": [{"role": "user", "content": "Q"}]}] * 3, "column 'messages' has the roles user; expected"),
        ([{"messages": [{"role": "assistant", "content": "Q"}] * 2}] * 3, "has the roles assistant, assistant;"),
        (pairs(2), "jsonl-f has no train example left; expected at least 3 different rows"),
    ],
)
def test_other_columns_are_refused_with_those_expected(tmp_path: Path, rows: list[Any], message: str) -> None:
    task = own_data(write_lines(tmp_path / "f.jsonl", rows))
    with pytest.raises(UsageError, match=message) as error:
        task.check()
    assert str(error.value).startswith("--tasks: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"--tasks: jsonl:nowhere\.jsonl is not a file; expected JSON lines"):
        create_task("jsonl:nowhere.jsonl")
