"""What differs between a decoder and an encoder-decoder in a comparison: class, PEFT's name of the task, loss.

How an example becomes tokens differs too, see `benchmarks.encoding`; all else treats the two alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from analysis import Objective, causal_lm_loss, seq2seq_lm_loss
from analysis.losses import LossFunction


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of language model.

    Attributes:
        model_class: Class whose `from_pretrained` loads it.
        task_type: PEFT's name of the task.
        loss: Its loss over a batch, for an `Objective`.
    """

    model_class: Any
    task_type: str
    loss: LossFunction


DECODER = Architecture(model_class=AutoModelForCausalLM, task_type="CAUSAL_LM", loss=causal_lm_loss)
ENCODER_DECODER = Architecture(model_class=AutoModelForSeq2SeqLM, task_type="SEQ_2_SEQ_LM", loss=seq2seq_lm_loss)


def architecture_of(config: Any) -> Architecture:
    """Return the kind of a model by its configuration."""
    return ENCODER_DECODER if config.is_encoder_decoder else DECODER


def objective(model: Any, batches: Sequence[Any]) -> Objective:
    """Return the loss of a model over batches, a mean over the tokens of all completions."""
    return Objective(model, batches, loss=architecture_of(model.config).loss)
