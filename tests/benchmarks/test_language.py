from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from analysis import causal_lm_loss, seq2seq_lm_loss
from benchmarks.encoding import IGNORED_LABEL, PaddedBatch, encode, encode_all
from benchmarks.language import LanguageModel
from benchmarks.lazy_rows import LazyRows
from benchmarks.loading import load_model
from benchmarks.scoring import score_examples
from benchmarks.tasks import Example, Message, create_task
from tests.models import byte_tokenizer, save_tiny_model, save_tiny_t5
from tests.real_data import chat_tokenizer

TASK = create_task("pocket-math")
EXAMPLES = TASK.examples("train")[:3]
DECODER = SimpleNamespace(is_encoder_decoder=False)


def test_a_decoder_has_the_rows_and_batches_of_its_tokenizer(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    language = LanguageModel(model.config, tokenizer)
    assert (language.task_type, language.loss) == ("CAUSAL_LM", causal_lm_loss)
    rows = language.rows(TASK, EXAMPLES)
    assert rows == encode_all(EXAMPLES, tokenizer)
    batch, wanted = language.collator(seed=0, multiple=8)(rows), PaddedBatch(0, multiple=8)(rows)
    assert all(torch.equal(batch[name], wanted[name]) for name in wanted)
    # A mean over tokens does not depend on the batches.
    one, several = (language.objective(model, rows, size=size).value() for size in (1, 3))
    assert one == pytest.approx(several, rel=1e-5)
    assert language.score(model, TASK, EXAMPLES) == score_examples(model, tokenizer, TASK, EXAMPLES)


def test_an_encoder_decoder_reads_its_prompts_apart(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_t5(tmp_path), device=torch.device("cpu"))
    language = LanguageModel(model.config, tokenizer)
    assert (language.task_type, language.loss) == ("SEQ_2_SEQ_LM", seq2seq_lm_loss)
    assert language.rows(TASK, EXAMPLES) == encode_all(EXAMPLES, tokenizer, encoder_decoder=True)


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
