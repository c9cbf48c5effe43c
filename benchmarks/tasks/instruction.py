"""How an instruction or a chat is written down for a model without a chat template.

Instructions stand in the form of Stanford Alpaca (Taori et al. 2023), which most bases are fine-tuned with. Chats name
who speaks: `User:` and `Assistant:`. Models with a chat template get the messages instead, see `benchmarks.chat`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.tasks.base import Example, Message

_HEAD = (
    "Below is an instruction that describes a task{more}. "
    "Write a response that appropriately completes the request.\n\n"
)
_MORE = ", paired with an input that provides further context"


def instruction_example(instruction: str, response: str, *, context: str = "") -> Example:
    """Return an instruction, which may come with a context, and its response as an example."""
    parts = {"Instruction": instruction} | ({"Input": context} if context else {})
    sections = "".join(f"### {name}:\n{text}\n\n" for name, text in parts.items())
    return Example(
        prompt=f"{_HEAD.format(more=_MORE if context else '')}{sections}### Response:\n",
        completion=response,
        messages=(Message(role="user", content="\n\n".join(parts.values())),),
    )


def chat_example(messages: Sequence[Message]) -> Example:
    """Return the last message, of the assistant, as what is to be said to those before it."""
    *before, last = messages
    lines = [m.content if m.role == "system" else f"{m.role.capitalize()}: {m.content}" for m in before]
    return Example(prompt="\n".join([*lines, "Assistant:"]), completion=last.content, messages=tuple(before))
