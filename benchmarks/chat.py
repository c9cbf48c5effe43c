"""Examples written by a model's own chat template, so that it meets the marks that it was taught or will be used with.

The prompt ends where the assistant's answer begins; the answer is what the template writes from there to its own end
mark, and the white space that some templates put behind that is left off. A template that changes what came before when
an answer is added has no such place, and is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.errors import one_line
from benchmarks.tasks.base import Example, Message

_PROBE = Example(prompt="", completion="Yes.", messages=(Message(role="user", content="Well?"),))


class ChatTemplateError(ValueError):
    """A chat template cannot be used; the text says why and what to do."""


def has_chat_template(folder: Path) -> bool:
    """Return whether the tokenizer in a folder has a chat template, without loading it."""
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def written_prompt(example: Example, tokenizer: Any) -> str:
    """Return the messages of an example up to where the assistant's answer begins.

    Raises:
        ChatTemplateError: If the template refuses the messages.
    """
    return _written(tokenizer, example.messages, add_generation_prompt=True)


def written_answer(example: Example, tokenizer: Any) -> str:
    """Return the completion of an example with the template's mark of its end.

    Raises:
        ChatTemplateError: If the template refuses the messages, or has no place where the answer begins.
    """
    answer = Message(role="assistant", content=example.completion)
    prompt, whole = written_prompt(example, tokenizer), _written(tokenizer, (*example.messages, answer))
    if not whole.startswith(prompt):
        raise ChatTemplateError(
            "the chat template writes a prompt differently once it is answered; --chat-template none writes plain text"
        )
    return whole[len(prompt) :].rstrip()


def end_tokens(tokenizer: Any) -> list[int]:
    """Return the tokens at which a chat's answer ends: the template's mark, where it is one, and the end of a text."""
    last = tokenizer(written_answer(_PROBE, tokenizer), add_special_tokens=False)["input_ids"][-1]
    marks = [last] if last in tokenizer.all_special_ids else []
    return list(dict.fromkeys([*marks, tokenizer.eos_token_id]))


def _written(tokenizer: Any, messages: tuple[Message, ...], *, add_generation_prompt: bool = False) -> str:
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in messages],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
            )
        )
    except Exception as error:  # a template raises what it likes
        reason = one_line(error)
        raise ChatTemplateError(
            f"the chat template refuses a chat: {reason}; --chat-template none writes plain text"
        ) from None
