from __future__ import annotations

from types import SimpleNamespace

from benchmarks.encoding import IGNORED_LABEL, encode, encode_all
from benchmarks.language import LanguageModel
from benchmarks.lazy_rows import LazyRows
from benchmarks.tasks import Example, Message, create_task
from tests.models import byte_tokenizer
from tests.real_data import chat_tokenizer

DECODER = SimpleNamespace(is_encoder_decoder=False)


def test_every_turn_of_a_dialogue_is_a_row_after_the_reference_answers() -> None:
    tokenizer, task = byte_tokenizer(), create_task("pocket-chat")
    examples = task.examples("train")[:3]
    rows = LanguageModel(DECODER, tokenizer).rows(task, examples)
    assert len(rows) == 6
    for example, first, second in zip(examples, rows[::2], rows[1::2], strict=True):
        assert first == encode(example, tokenizer)
        text = tokenizer.decode(second["input_ids"])
        assert text.startswith(example.prompt + example.completion + "\nUser: ")
        asked = second["labels"].count(IGNORED_LABEL)
        assert tokenizer.decode(second["input_ids"][:asked]).endswith("\nAssistant:")
        assert tokenizer.decode(second["labels"][asked:]) == text.split("\nAssistant:")[-1]


def test_a_task_of_one_turn_has_a_row_for_each_example_also_where_there_are_many() -> None:
    tokenizer, task = byte_tokenizer(), create_task("pocket-math")
    examples = task.examples("train")
    model = LanguageModel(DECODER, tokenizer)
    assert model.rows(task, examples[:3]) == encode_all(examples[:3], tokenizer)
    many = model.rows(task, examples * 10)
    assert isinstance(many, LazyRows)
    assert many[len(examples) : len(examples) + 3] == encode_all(examples[:3], tokenizer)


def test_template_and_length_are_the_models() -> None:
    tokenizer, task = chat_tokenizer(), create_task("pocket-math")
    example = Example(prompt="plain", completion="Seven.", messages=(Message(role="user", content="How many?"),))
    for options in ({"chat": True}, {"chat": False}, {"chat": True, "max_length": 9}):
        model = LanguageModel(DECODER, tokenizer, **options)
        assert model.rows(task, [example]) == encode_all([example], tokenizer, **options)
