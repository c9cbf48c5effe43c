"""Examples as token rows: the prompt masked out of the loss, the completion ended by the end-of-text token.

Prompt and completion are tokenised apart, so that the tokens the model is trained on are the ones it meets when
it is given the prompt alone and has to go on by itself. The prompt begins as the tokenizer begins every text: a
base that was pretrained with a start token needs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.tasks import Example

IGNORED_LABEL = -100
Row = dict[str, list[int]]


def encode_prompt(text: str, tokenizer: Any) -> list[int]:
    """Return the tokens of a prompt, the start token included where the tokenizer has one, the end token never."""
    tokens: list[int] = tokenizer(text)["input_ids"]
    return tokens[:-1] if tokens and tokens[-1] == tokenizer.eos_token_id else tokens


def encode(example: Example, tokenizer: Any) -> Row:
    """Return `input_ids` and `labels` of one example; labels of the prompt are ignored in the loss."""
    prompt = encode_prompt(example.prompt, tokenizer)
    completion: list[int] = tokenizer(example.completion, add_special_tokens=False)["input_ids"]
    answer = [*completion, tokenizer.eos_token_id]
    return {"input_ids": prompt + answer, "labels": [IGNORED_LABEL] * len(prompt) + answer}


def encode_all(examples: Iterable[Example], tokenizer: Any) -> list[Row]:
    """Encode examples in their order."""
    return [encode(example, tokenizer) for example in examples]


class PaddedBatch:
    """Collates rows into a batch padded on the right to its longest row.

    Args:
        pad_id: Token that fills the rows; it is masked out of attention and loss.
        multiple: Lengths are multiples of this, so that there are fewer of them.
    """

    def __init__(self, pad_id: int, *, multiple: int = 1) -> None:
        self.pad_id = pad_id
        self.multiple = multiple

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each (len(rows), longest row, rounded up)."""
        longest = math.ceil(max(len(row["input_ids"]) for row in rows) / self.multiple) * self.multiple

        def padded(values: list[int], filler: int) -> list[int]:
            return values + [filler] * (longest - len(values))

        return {
            "input_ids": torch.tensor([padded(row["input_ids"], self.pad_id) for row in rows]),
            "attention_mask": torch.tensor([padded([1] * len(row["input_ids"]), 0) for row in rows]),
            "labels": torch.tensor([padded(row["labels"], IGNORED_LABEL) for row in rows]),
        }


def batches(rows: Sequence[Row], *, size: int, pad_id: int) -> list[dict[str, Tensor]]:
    """Split rows into padded batches of at most `size`, sorted by length so that little is padding.

    The order is fixed by the rows alone; token-weighted means do not depend on it.
    """
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    collate = PaddedBatch(pad_id)
    return [collate(ordered[start : start + size]) for start in range(0, len(ordered), size)]
