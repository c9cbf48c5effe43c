from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chat import ChatTemplateError, end_tokens, has_chat_template, written_answer, written_prompt
from benchmarks.tasks import Example, Message
from tests.models import save_tiny_model
from tests.real_data import chat_tokenizer, save_chat_model

ASKED = Example(prompt="plain", completion="Seven.", messages=(Message(role="user", content="How many?"),))


def test_prompt_and_answer_are_the_template_cut_where_the_answer_begins() -> None:
    tokenizer = chat_tokenizer()
    assert written_prompt(ASKED, tokenizer) == "<s><|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    # The line break behind the mark of the end is nothing to be trained on.
    assert written_answer(ASKED, tokenizer) == "Seven.<|im_end|>"


def test_generation_stops_at_the_templates_mark_and_at_the_end_of_a_text() -> None:
    tokenizer = chat_tokenizer()
    assert tokenizer.convert_ids_to_tokens(end_tokens(tokenizer)) == ["<|im_end|>", "</s>"]
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    assert tokenizer.convert_ids_to_tokens(end_tokens(tokenizer)) == ["</s>"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages | length }}", "writes a prompt differently once it is answered"),
        ("{{ raise_exception('no user') }}", "refuses a chat: .*no user"),
    ],
)
def test_templates_without_a_place_for_the_answer_are_refused(template: str, message: str) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ChatTemplateError, match=f"{message}.*--chat-template none"):
        written_answer(ASKED, tokenizer)


def test_whether_a_folder_has_a_template_is_seen_without_loading(tmp_path: Path) -> None:
    assert has_chat_template(save_chat_model(tmp_path / "chat"))
    assert not has_chat_template(save_tiny_model(tmp_path / "plain"))
    old = tmp_path / "old"
    old.mkdir()
    (old / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert has_chat_template(old)
