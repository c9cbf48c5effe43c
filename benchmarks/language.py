"""Language models in a comparison: what differs between a decoder and an encoder-decoder, and what they share.

How an example becomes tokens is said in `benchmarks.encoding`, how an answer is written in `benchmarks.scoring`, and
how one is scored that is not written in `benchmarks.likelihood`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from analysis import causal_lm_loss, seq2seq_lm_loss
from analysis.losses import CrossEntropyLoss
from benchmarks.architecture import Architecture, Batch, Collator, Row
from benchmarks.chat import end_tokens
from benchmarks.encoding import PaddedBatch, batches, encode_all, encode_prompts
from benchmarks.lazy_rows import encoded
from benchmarks.likelihood import score_likelihoods
from benchmarks.packing import keep_apart, pack, packed_batch
from benchmarks.scoring import GENERATION_BATCH, ScoredExample, score_examples
from benchmarks.tasks import Example, Task


@dataclass(frozen=True, kw_only=True)
class LanguageKind:
    """A kind of language model.

    Attributes:
        model_class: Class whose `from_pretrained` loads it.
        task_type: PEFT's name of the task.
        loss: Its loss over a batch, a mean over the tokens of all completions.
    """

    model_class: Any
    task_type: str
    loss: CrossEntropyLoss


DECODER = LanguageKind(model_class=AutoModelForCausalLM, task_type="CAUSAL_LM", loss=causal_lm_loss)
ENCODER_DECODER = LanguageKind(model_class=AutoModelForSeq2SeqLM, task_type="SEQ_2_SEQ_LM", loss=seq2seq_lm_loss)


def language_kind(config: Any) -> LanguageKind:
    """Return the kind of a language model by its configuration."""
    return ENCODER_DECODER if config.is_encoder_decoder else DECODER


class LanguageModel(Architecture):
    """A decoder or an encoder-decoder with its tokenizer.

    Args:
        config: Configuration of the model.
        tokenizer: Its tokenizer, which must have a padding token.
        chat: Write examples that have messages by the tokenizer's chat template.
        max_length: Tokens of the longest row; None cuts nothing.
        batch_size: Examples that are scored at a time; None takes what small models can have.
    """

    loss_kind = "token"
    loss: CrossEntropyLoss

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        *,
        chat: bool = False,
        max_length: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        kind = language_kind(config)
        self.task_type, self.loss = kind.task_type, kind.loss
        self.tokenizer = tokenizer
        self._format: dict[str, Any] = {
            "encoder_decoder": bool(config.is_encoder_decoder),
            "chat": chat,
            "max_length": max_length,
        }
        self._pad_id = int(tokenizer.pad_token_id)
        self._max_length = max_length
        self._batch_size = batch_size or GENERATION_BATCH
        self._ends = end_tokens(tokenizer) if chat else None

    def rows(self, task: Task, examples: Sequence[Example]) -> Sequence[Row]:
        """See `Architecture.rows`: every turn of every example as tokens."""
        turns = [turn for example in examples for turn in task.turns(example)]
        return encoded(turns, lambda chosen: list(encode_all(chosen, self.tokenizer, **self._format)))

    def packed(self, model: Any, rows: Sequence[Row]) -> list[Row]:
        """See `Architecture.packed`."""
        assert self._max_length is not None
        found = list(pack(rows, length=self._max_length, pad_id=self._pad_id))
        keep_apart(model, found)
        return found

    def collator(self, *, seed: int, multiple: int = 1, skipped: int = 0) -> Collator:
        """See `Architecture.collator`: nothing is drawn."""
        padded = PaddedBatch(self._pad_id, multiple=multiple)

        def collate(rows: Sequence[Row]) -> Batch:
            return packed_batch(rows) if "position_ids" in rows[0] else padded(rows)

        return collate

    def batches(self, rows: Sequence[Row], *, size: int, once: bool = False) -> list[Batch]:
        """See `Architecture.batches`: nothing depends on chance."""
        return batches(rows, size=size, pad_id=self._pad_id)

    def score(
        self,
        model: Any,
        task: Task,
        examples: Sequence[Example],
        *,
        on_progress: Callable[[float], None] = lambda fraction: None,
    ) -> list[ScoredExample]:
        """See `Architecture.score`: answers are written greedily, or not at all if likelihood is what is scored."""
        if task.by_likelihood:
            rows = [self.rows(task, [example]) for example in examples]
            return score_likelihoods(
                model,
                examples,
                rows,
                loss=self.loss,
                pad_id=self._pad_id,
                size=self._batch_size,
                on_progress=on_progress,
            )
        return score_examples(
            model,
            self.tokenizer,
            task,
            examples,
            batch_size=self._batch_size,
            encode=lambda turns: encode_prompts(turns, self.tokenizer, **self._format),
            end_tokens=self._ends,
            on_progress=on_progress,
        )
