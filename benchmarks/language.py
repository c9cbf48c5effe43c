"""Language models in a comparison: what differs between a decoder and an encoder-decoder, and what they share.

How an example becomes tokens is said in `benchmarks.encoding`, how an answer is written in `benchmarks.scoring`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from analysis import causal_lm_loss, seq2seq_lm_loss
from analysis.losses import LossFunction
from benchmarks.architecture import Architecture, Batch, Collator, Row
from benchmarks.encoding import PaddedBatch, batches, encode_turns
from benchmarks.scoring import ScoredExample, score_examples
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
    loss: LossFunction


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
    """

    loss_kind = "token"

    def __init__(self, config: Any, tokenizer: Any) -> None:
        kind = language_kind(config)
        self.task_type, self.loss = kind.task_type, kind.loss
        self.tokenizer = tokenizer
        self._encoder_decoder = bool(config.is_encoder_decoder)
        self._pad_id = int(tokenizer.pad_token_id)

    def rows(self, task: Task, examples: Sequence[Example]) -> list[Row]:
        """See `Architecture.rows`: every turn of every example as tokens."""
        return list(encode_turns(task, examples, self.tokenizer, encoder_decoder=self._encoder_decoder))

    def collator(self, *, seed: int, multiple: int = 1) -> Collator:
        """See `Architecture.collator`: nothing is drawn."""
        return PaddedBatch(self._pad_id, multiple=multiple)

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
        """See `Architecture.score`: answers are written greedily."""
        return score_examples(model, self.tokenizer, task, examples, on_progress=on_progress)
