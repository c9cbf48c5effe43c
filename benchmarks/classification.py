"""Sequence classifiers in a comparison: they read a text or two and choose one of a task's labels.

The head is trained whole beside the adapters, as PEFT does for classifiers, and is part of the exported adapter. A
checkpoint that has no head for this number of labels gets a fresh one, from the run's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from analysis import sequence_classification_loss
from benchmarks.architecture import Architecture, Batch, Collator, Row
from benchmarks.lazy_rows import encoded
from benchmarks.scoring import ScoredExample
from benchmarks.tasks import Example, Task

#: Examples that are scored at a time, where nothing else is said.
_AT_A_TIME = 64


class SequenceClassifier(Architecture):
    """A classifier with its tokenizer.

    Args:
        tokenizer: Its tokenizer, which must have a padding token.
        max_length: Tokens of the longest row; the longer of two texts is cut first.
        batch_size: Examples that are scored at a time.
    """

    task_type = "SEQ_CLS"
    loss = sequence_classification_loss
    loss_kind = "example"

    def __init__(self, tokenizer: Any, *, max_length: int | None = None, batch_size: int | None = None) -> None:
        self.tokenizer = tokenizer
        self._max_length = max_length
        self._batch_size = batch_size or _AT_A_TIME

    def rows(self, task: Task, examples: Sequence[Example]) -> Sequence[Row]:
        """See `Architecture.rows`: the tokens of the texts, and the place of the answer among the task's labels."""
        return encoded(examples, partial(self._encode, task))

    def _encode(self, task: Task, examples: Sequence[Example]) -> list[Row]:
        if not examples:
            return []
        columns = [list(column) for column in zip(*(example.texts for example in examples), strict=True)]
        cut = {"truncation": True, "max_length": self._max_length} if self._max_length is not None else {}
        inputs = self.tokenizer(*columns, **cut)
        return [
            {name: values[index] for name, values in inputs.items()} | {"labels": task.labels.index(e.completion)}
            for index, e in enumerate(examples)
        ]

    def collator(self, *, seed: int, multiple: int = 1, skipped: int = 0) -> Collator:
        """See `Architecture.collator`: nothing is drawn."""

        def collate(rows: Sequence[Row]) -> Batch:
            return self._padded(rows, multiple)

        return collate

    def batches(self, rows: Sequence[Row], *, size: int, once: bool = False) -> list[Batch]:
        """See `Architecture.batches`: sorted by length."""
        ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
        return [self._padded(ordered[start : start + size], 1) for start in range(0, len(ordered), size)]

    def _padded(self, rows: Sequence[Row], multiple: int) -> Batch:
        longest = max(len(row["input_ids"]) for row in rows)
        longest = -(-longest // multiple) * multiple
        fillers = {"input_ids": int(self.tokenizer.pad_token_id), "attention_mask": 0, "token_type_ids": 0}

        def padded(name: str) -> Tensor:
            return torch.tensor([row[name] + [fillers[name]] * (longest - len(row[name])) for row in rows])

        batch = {name: padded(name) for name in rows[0] if name != "labels"}
        return batch | {"labels": torch.tensor([row["labels"] for row in rows])}

    def score(
        self,
        model: Any,
        task: Task,
        examples: Sequence[Example],
        *,
        on_progress: Callable[[float], None] = lambda fraction: None,
    ) -> list[ScoredExample]:
        """See `Architecture.score`: the answer is the label of the largest logit."""
        found = []
        for start in range(0, len(examples), self._batch_size):
            part = examples[start : start + self._batch_size]
            batch = self._padded(self.rows(task, part), 1)
            del batch["labels"]
            with torch.inference_mode():
                logits = model(**{name: values.to(model.device) for name, values in batch.items()}).logits
            for index, (example, chosen) in enumerate(
                zip(part, logits.argmax(dim=1).tolist(), strict=True), start=start
            ):
                answer = task.labels[chosen]
                score = task.score(example, answer)
                found.append(ScoredExample.of_one_turn(index, example, generated=answer, score=score))
            on_progress(min(1.0, (start + self._batch_size) / len(examples)))
        return found
