"""Examples as token rows: the prompt masked out of the loss, the completion ended by the end-of-text token.

Prompt and completion are tokenised apart, so that the tokens the model is trained on are the ones it meets when
it is given the prompt alone and has to go on by itself. The prompt begins as the tokenizer begins every text: a
base that was pretrained with a start token needs it. An encoder-decoder reads the prompt whole, ended as its tokenizer
ends every text, and its labels are the completion alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.tasks import Example, Task

IGNORED_LABEL = -100
Row = dict[str, list[int]]


def encode_prompt(text: str, tokenizer: Any, *, encoder_decoder: bool = False) -> list[int]:
    """Return the tokens of a prompt, the start token included where the tokenizer has one.

    A decoder goes on from the prompt and must not see its end, which the tokenizer may add; an encoder should.
    """
    tokens: list[int] = tokenizer(text)["input_ids"]
    ended = bool(tokens) and tokens[-1] == tokenizer.eos_token_id
    return tokens[:-1] if ended and not encoder_decoder else tokens


def encode(example: Example, tokenizer: Any, *, encoder_decoder: bool = False) -> Row:
    """Return `input_ids` and `labels` of one example; what a decoder's labels have of the prompt is ignored."""
    prompt = encode_prompt(example.prompt, tokenizer, encoder_decoder=encoder_decoder)
    completion: list[int] = tokenizer(example.completion, add_special_tokens=False)["input_ids"]
    answer = [*completion, tokenizer.eos_token_id]
    if encoder_decoder:
        return {"input_ids": prompt, "labels": answer}
    return {"input_ids": prompt + answer, "labels": [IGNORED_LABEL] * len(prompt) + answer}


def encode_all(examples: Iterable[Example], tokenizer: Any, *, encoder_decoder: bool = False) -> list[Row]:
    """Encode examples in their order."""
    return [encode(example, tokenizer, encoder_decoder=encoder_decoder) for example in examples]


def encode_turns(
    task: Task, examples: Iterable[Example], tokenizer: Any, *, encoder_decoder: bool = False
) -> list[Row]:
    """Encode every turn of a task's examples in order; later prompts hold the reference answers before them."""
    turns = (turn for example in examples for turn in task.turns(example))
    return encode_all(turns, tokenizer, encoder_decoder=encoder_decoder)


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
