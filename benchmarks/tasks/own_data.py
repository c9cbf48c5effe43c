"""`jsonl:FILE`: a user's own instructions or chats, with no code.

Each line is an object with `instruction` and `response`, or with `messages` as the hub's chats have them: a list of
`{"role": ..., "content": ...}`, an optional system message first, then user and assistant in turn, the assistant last.
Every assistant message is trained on, each with the true ones before it. JSON lists and Parquet are read as well.
Validation and test rows are held out by hash (a tenth each, 500 at most), of chats by how they begin, so that no chat
is trained on that goes on, or breaks off, where a held-out one does; scored is the inverse perplexity of responses.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, cast

from benchmarks.errors import UsageError
from benchmarks.tasks.base import Example, Message, Recipe, Split
from benchmarks.tasks.data_task import DataTask, held_out, shown
from benchmarks.tasks.instruction import chat_example, instruction_example
from benchmarks.tasks.sources import Row, check_columns, read_rows

PREFIX = "jsonl:"
_PAIR = ("instruction", "response")


class OwnData(DataTask):
    """Rows of a file; see `own_data`, which names them after it."""

    name: ClassVar[str] = "jsonl"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "inverse perplexity"
    by_likelihood: ClassVar[bool] = True
    flag: ClassVar[str] = "--tasks"
    #: Our choice, between the paper's recipes for decoders.
    recipe: ClassVar[Recipe] = Recipe(
        batch_size=16,
        learning_rate=3e-4,
        max_new_tokens=256,
        epochs=3,
        micro_batch_size=4,
        max_length=1024,
        evaluation_batch_size=8,
    )

    def read(self) -> dict[Split, list[Row]]:
        """See `DataTask.read`."""
        path = cast("Path", self.data)
        rows = read_rows(path)
        expected = ("messages",) if rows and "messages" in rows[0] else _PAIR
        if rows and not any(column in rows[0] for column in ("messages", *_PAIR)):
            raise UsageError(
                f"--tasks: {path} has the columns {', '.join(map(str, rows[0])) or 'none'}; expected "
                f"{' and '.join(_PAIR)}, or messages"
            )
        check_columns(self.name, rows, expected, str(path))
        return held_out(self, rows, [])

    def example(self, row: Row) -> Example:
        """See `DataTask.example`: of a chat, its last answer."""
        if "messages" in row:
            return chat_example(_messages(row["messages"]))
        return instruction_example(self.text(row, "instruction"), self.text(row, "response"))

    def recognised_by(self, row: Row) -> str:
        """See `DataTask.recognised_by`: the prompt of the first answer."""
        return self.turns(self.example(row))[0].prompt

    def turns(self, example: Example) -> tuple[Example, ...]:
        """See `Task.turns`: every answer of a chat, after the true ones before it."""
        said = (*example.messages, Message(role="assistant", content=example.completion))
        ends = [place for place, message in enumerate(example.messages) if message.role == "assistant"]
        return (*(chat_example(said[: place + 1]) for place in ends), example)

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if a text is the response to the letter; answers are scored by likelihood instead."""
        return float(generated.strip() == example.completion.strip())


def own_data(path: Path) -> OwnData:
    """Return the task of a file.

    Raises:
        UsageError: If there is no such file.
    """
    if not path.is_file():
        raise UsageError(
            f"--tasks: {PREFIX}{path} is not a file; expected JSON lines with {' and '.join(_PAIR)}, or messages"
        )
    return _named(re.sub(r"[^A-Za-z0-9_.]+", "-", path.stem))(path)


@lru_cache
def _named(stem: str) -> type[OwnData]:
    return type("OwnData", (OwnData,), {"name": f"jsonl-{stem}"})


def _messages(found: Any) -> list[Message]:
    expected = (
        "expected a list of {role, content} objects: a system message if there is one, then user and assistant in "
        "turn, the assistant last"
    )
    if not isinstance(found, list) or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in found
    ):
        raise UsageError(f"--tasks: column 'messages' holds {shown(found)}; {expected}")
    messages = [Message(role=m["role"], content=m["content"]) for m in found]
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or len(turns) % 2 or turns != ["user", "assistant"] * (len(turns) // 2):
        raise UsageError(f"--tasks: column 'messages' has the roles {', '.join(roles) or 'none'}; {expected}")
    return messages
