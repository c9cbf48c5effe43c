"""Examples as token rows: the prompt masked out of the loss, the completion ended by the end-of-text token.

Prompt and completion are tokenised apart, so that the tokens the model is trained on are the ones it meets when
it is given the prompt alone and has to go on by itself. The prompt begins as the tokenizer begins every text: a
base that was pretrained with a start token needs it. An encoder-decoder reads the prompt whole, ended as its tokenizer
ends every text, and its labels are the completion alone. A decoder's answer that is a bare word gets the space in front
of it that neither it nor the prompt has.

Rows can be cut to a length. A decoder's row then loses the end of its completion, and the beginning of a prompt that
would leave the completion less than half of the row, and less than it needs; so every row keeps something to be trained
on. What an encoder-decoder reads loses its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.chat import written_answer, written_prompt
from benchmarks.tasks import Example

IGNORED_LABEL = -100
Row = dict[str, list[int]]


def encode_prompt(text: str, tokenizer: Any, *, encoder_decoder: bool = False) -> list[int]:
    """Return the tokens of a prompt, the start token included where the tokenizer has one.

    A decoder goes on from the prompt and must not see its end, which the tokenizer may add; an encoder should.
    """
    return _ended(tokenizer(text)["input_ids"], tokenizer, encoder_decoder=encoder_decoder)


def _ended(tokens: list[int], tokenizer: Any, *, encoder_decoder: bool) -> list[int]:
    ended = bool(tokens) and tokens[-1] == tokenizer.eos_token_id
    return tokens[:-1] if ended and not encoder_decoder else tokens


def encode_prompts(
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    encoder_decoder: bool = False,
    chat: bool = False,
    max_length: int | None = None,
) -> list[list[int]]:
    """Return the tokens of prompts, cut to `max_length`; see `encode_all`."""
    prompts = _prompts(examples, tokenizer, encoder_decoder=encoder_decoder, chat=chat)
    if encoder_decoder:
        return [_cut_end(prompt, max_length) for prompt in prompts]
    return [_cut_beginning(prompt, max_length, tokenizer.bos_token_id) for prompt in prompts]


def _prompts(examples: Sequence[Example], tokenizer: Any, *, encoder_decoder: bool, chat: bool) -> list[list[int]]:
    if not examples:
        return []
    # Templates write special tokens themselves; texts get the tokenizer's.
    chatted = [chat and bool(example.messages) for example in examples]
    texts = [written_prompt(e, tokenizer) if c else e.prompt for e, c in zip(examples, chatted, strict=True)]
    found: list[list[int]] = [[] for _ in examples]
    for kind in set(chatted):
        places = [place for place, value in enumerate(chatted) if value is kind]
        encoded = tokenizer([texts[place] for place in places], add_special_tokens=not kind)["input_ids"]
        for place, tokens in zip(places, encoded, strict=True):
            found[place] = tokens if kind else _ended(tokens, tokenizer, encoder_decoder=encoder_decoder)
    return found


def encode(example: Example, tokenizer: Any, *, encoder_decoder: bool = False) -> Row:
    """Return `input_ids` and `labels` of one example; what a decoder's labels have of the prompt is ignored."""
    return encode_all([example], tokenizer, encoder_decoder=encoder_decoder)[0]


def encode_all(
    examples: Iterable[Example],
    tokenizer: Any,
    *,
    encoder_decoder: bool = False,
    chat: bool = False,
    max_length: int | None = None,
) -> list[Row]:
    """Encode examples in their order.

    Args:
        examples: The examples.
        tokenizer: Of the model.
        encoder_decoder: Whether prompt and completion are read apart.
        chat: Write examples that have messages by the tokenizer's chat template.
        max_length: Tokens of the longest row; None cuts nothing.
    """
    examples = list(examples)
    if not examples:
        return []
    prompts = _prompts(examples, tokenizer, encoder_decoder=encoder_decoder, chat=chat)
    texts = []
    for example in examples:
        if chat and example.messages:
            texts.append(written_answer(example, tokenizer))
        else:
            texts.append(example.completion if encoder_decoder else _spaced(example))
    completions: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    answers = [_with_end(completion, tokenizer) for completion in completions]
    if encoder_decoder:
        return [
            {"input_ids": _cut_end(prompt, max_length), "labels": answer[:max_length]}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
    return [
        _joined(prompt, answer, max_length, tokenizer.bos_token_id)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _spaced(example: Example) -> str:
    apart = not example.prompt or example.prompt[-1].isspace() or example.completion[:1].isspace()
    return example.completion if apart else f" {example.completion}"


def _with_end(completion: list[int], tokenizer: Any) -> list[int]:
    # A chat template has ended the answer in its own way.
    ended = bool(completion) and completion[-1] in tokenizer.all_special_ids
    return completion if ended else [*completion, tokenizer.eos_token_id]


def _joined(prompt: list[int], answer: list[int], max_length: int | None, start: int | None) -> Row:
    if max_length is not None and len(prompt) + len(answer) > max_length:
        kept = max(max_length - len(prompt), min(len(answer), max_length // 2))
        prompt, answer = _cut_beginning(prompt, max_length - kept, start), answer[:kept]
    return {"input_ids": prompt + answer, "labels": [IGNORED_LABEL] * len(prompt) + answer}


def _cut_beginning(tokens: list[int], length: int | None, start: int | None) -> list[int]:
    if length is None or len(tokens) <= length:
        return tokens
    if length and tokens[0] == start:
        return [tokens[0], *tokens[len(tokens) - length + 1 :]]
    return tokens[len(tokens) - length :]


def _cut_end(tokens: list[int], length: int | None) -> list[int]:
    return tokens if length is None or len(tokens) <= length else [*tokens[: length - 1], tokens[-1]]


class PaddedBatch:
    """Collates rows into a batch padded on the right, inputs and labels each to its longest.

    Args:
        pad_id: Token that fills the rows; it is masked out of attention and loss.
        multiple: Lengths are multiples of this, so that there are fewer of them.
    """

    def __init__(self, pad_id: int, *, multiple: int = 1) -> None:
        self.pad_id = pad_id
        self.multiple = multiple

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` (rows, longest input) and `labels` (rows, longest labels)."""

        def padded(values: list[list[int]], filler: int) -> Tensor:
            longest = math.ceil(max(map(len, values)) / self.multiple) * self.multiple
            return torch.tensor([value + [filler] * (longest - len(value)) for value in values])

        return {
            "input_ids": padded([row["input_ids"] for row in rows], self.pad_id),
            "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
            "labels": padded([row["labels"] for row in rows], IGNORED_LABEL),
        }


def batches(rows: Sequence[Row], *, size: int, pad_id: int) -> list[dict[str, Tensor]]:
    """Split rows into padded batches of at most `size`, sorted by length so that little is padding.

    The order is fixed by the rows alone; token-weighted means do not depend on it.
    """
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    collate = PaddedBatch(pad_id)
    return [collate(ordered[start : start + size]) for start in range(0, len(ordered), size)]
