from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.encoding import (
    IGNORED_LABEL,
    PaddedBatch,
    batches,
    encode,
    encode_all,
    encode_prompt,
    encode_prompts,
)
from benchmarks.loading import load_model
from benchmarks.models import locate_model
from benchmarks.tasks import SPLITS, TASKS, Example, Message, create_task
from tests.models import byte_tokenizer, save_tiny_t5
from tests.real_data import chat_tokenizer


def test_only_the_completion_and_its_end_are_scored() -> None:
    tokenizer = byte_tokenizer()
    row = encode(Example(prompt="2 + 2 =", completion=" 4"), tokenizer)
    assert tokenizer.decode(row["input_ids"]) == "2 + 2 = 4<eos>"
    scored = [token for token in row["labels"] if token != IGNORED_LABEL]
    assert tokenizer.decode(scored) == " 4<eos>"
    assert len(row["labels"]) == len(row["input_ids"])


def test_prompts_begin_as_the_tokenizer_begins_a_text_and_never_end_it() -> None:
    _, tokenizer = load_model(locate_model("pocket-llama"), device=torch.device("cpu"))
    row = encode(Example(prompt="2+2=", completion="4"), tokenizer)
    assert row["input_ids"][0] == tokenizer.bos_token_id
    assert row["input_ids"].count(tokenizer.bos_token_id) == 1
    assert encode_prompt("2+2=", tokenizer) == row["input_ids"][: row["labels"].count(IGNORED_LABEL)]

    def closing(text: str) -> dict[str, list[int]]:
        return {"input_ids": [5, tokenizer.eos_token_id]}

    closing.eos_token_id = tokenizer.eos_token_id  # type: ignore[attr-defined]
    assert encode_prompt("x", closing) == [5]


def test_batches_hold_every_row_once_and_mask_the_padding() -> None:
    rows = [{"input_ids": [5] * n, "labels": [IGNORED_LABEL] * (n - 1) + [n]} for n in (3, 1, 4, 2, 6)]
    found = batches(rows, size=2, pad_id=0)
    assert [tuple(b["input_ids"].shape) for b in found] == [(2, 2), (2, 4), (1, 6)]
    kept = [label for b in found for row in b["labels"].tolist() for label in row if label != IGNORED_LABEL]
    assert kept == [1, 2, 3, 4, 6]
    assert sum(int(b["attention_mask"].sum()) for b in found) == 16


def test_padding_is_ignored_in_all_three() -> None:
    batch = PaddedBatch(pad_id=9)([{"input_ids": [1, 2], "labels": [1, 2]}, {"input_ids": [3], "labels": [3]}])
    assert batch["input_ids"].tolist() == [[1, 2], [3, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["labels"].tolist() == [[1, 2], [3, IGNORED_LABEL]]


def test_lengths_can_be_rounded_up() -> None:
    rows = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}]
    rounded = PaddedBatch(pad_id=9, multiple=4)(rows)
    assert rounded["input_ids"].tolist() == [[1, 2, 3, 9]]
    assert rounded["attention_mask"].tolist() == [[1, 1, 1, 0]]
    assert rounded["labels"].tolist() == [[1, 2, 3, IGNORED_LABEL]]
    assert PaddedBatch(pad_id=9, multiple=3)(rows)["input_ids"].shape == (1, 3)


def test_an_encoder_reads_the_prompt_to_its_end_and_the_labels_are_the_completion(tmp_path: Path) -> None:
    _, tokenizer = load_model(save_tiny_t5(tmp_path), device=torch.device("cpu"))
    example = Example(prompt="2 + 2 =", completion=" 4")
    row = encode(example, tokenizer, encoder_decoder=True)
    assert tokenizer.decode(row["input_ids"]) == "2 + 2 =<eos>"
    assert tokenizer.decode(row["labels"]) == " 4<eos>"
    # The same tokenizer on a decoder: the prompt is not ended, the labels are as long as the input.
    assert tokenizer.decode(encode(example, tokenizer)["input_ids"]) == "2 + 2 = 4<eos>"


def test_inputs_and_labels_are_padded_each_to_its_own_length() -> None:
    batch = PaddedBatch(pad_id=9)([{"input_ids": [1, 2, 3], "labels": [4]}, {"input_ids": [5], "labels": [6, 7]}])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [5, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[4, IGNORED_LABEL], [6, 7]]


def test_a_chat_is_masked_up_to_the_answer_and_ends_with_the_templates_mark() -> None:
    """By hand: the template's text up to the assistant's turn is ignored, what follows is scored to its end mark."""
    tokenizer = chat_tokenizer()
    example = Example(prompt="plain", completion="Seven.", messages=(Message(role="user", content="How many?"),))
    row = encode_all([example], tokenizer, chat=True)[0]
    asked = "<s><|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(row["input_ids"]) == f"{asked}Seven.<|im_end|>"
    masked = len(tokenizer(asked, add_special_tokens=False)["input_ids"])
    assert row["labels"][:masked] == [IGNORED_LABEL] * masked
    assert row["labels"][masked:] == row["input_ids"][masked:]
    assert tokenizer.decode(row["labels"][masked:]) == "Seven.<|im_end|>"
    assert encode_prompts([example], tokenizer, chat=True) == [row["input_ids"][:masked]]
    # Examples without messages, and all of them without the template, are plain text.
    assert encode_all([example], tokenizer) == encode_all([replace(example, messages=())], tokenizer, chat=True)


def test_a_bare_word_is_set_apart_from_the_prompt_of_a_decoder_alone() -> None:
    tokenizer = byte_tokenizer()
    texts = [("cola sentence: S.", "acceptable"), ("Q\n", "A"), ("Q:", " A")]
    examples = [Example(prompt=prompt, completion=completion) for prompt, completion in texts]
    found = [tokenizer.decode(row["input_ids"]) for row in encode_all(examples, tokenizer)]
    assert found == ["cola sentence: S. acceptable<eos>", "Q\nA<eos>", "Q: A<eos>"]
    row = encode(examples[0], tokenizer, encoder_decoder=True)
    assert tokenizer.decode(row["labels"]) == "acceptable<eos>"


@pytest.mark.parametrize("name", TASKS)
def test_shipped_tasks_need_no_space_so_that_their_runs_are_what_they_were(name: str) -> None:
    task = create_task(name)
    for split in SPLITS:
        for example in task.examples(split):
            for turn in task.turns(example):
                assert task.medium == "picture" or turn.prompt[-1].isspace() or turn.completion[0].isspace()


@pytest.mark.parametrize(
    ("prompt", "answer", "kept"),
    [
        ("abcde", "12", ("abcde\n", "12<eos>")),  # nine tokens with the line break and the end: fits
        ("abcdef", "12", ("bcdef\n", "12<eos>")),  # all of an answer that needs less than half
        ("abcdef", "123456", ("cdef\n", "1234")),  # half of nine, rounded down, to an answer that needs more
        ("ab", "12345678", ("ab\n", "123456")),  # what a short prompt leaves
    ],
)
def test_rows_are_cut_where_least_is_lost(prompt: str, answer: str, kept: tuple[str, str]) -> None:
    tokenizer = byte_tokenizer()
    row = encode_all([Example(prompt=f"{prompt}\n", completion=answer)], tokenizer, max_length=9)[0]
    assert len(row["input_ids"]) <= 9
    scored = [token for token in row["labels"] if token != IGNORED_LABEL]
    asked = tokenizer.decode(row["input_ids"][: len(row["input_ids"]) - len(scored)])
    assert (asked, tokenizer.decode(scored)) == kept


def test_a_cut_prompt_keeps_its_start_and_what_an_encoder_reads_its_end(tmp_path: Path) -> None:
    _, tokenizer = load_model(locate_model("pocket-llama"), device=torch.device("cpu"))
    example = Example(prompt="one two three four five six seven eight\n", completion="nine")
    row = encode_all([example], tokenizer, max_length=6)[0]
    assert row["input_ids"][0] == tokenizer.bos_token_id
    assert len(row["input_ids"]) == 6
    assert encode_prompts([example], tokenizer, max_length=4)[0][0] == tokenizer.bos_token_id
    _, tokenizer = load_model(save_tiny_t5(tmp_path), device=torch.device("cpu"))
    row = encode_all([example], tokenizer, encoder_decoder=True, max_length=6)[0]
    assert tokenizer.decode(row["input_ids"]) == "one t<eos>"
    assert tokenizer.decode(row["labels"]) == "nine<eos>"
