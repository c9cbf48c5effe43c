from __future__ import annotations

from pathlib import Path

import pytest
import torch

from analysis import causal_lm_loss, seq2seq_lm_loss
from benchmarks.encoding import PaddedBatch, encode_turns
from benchmarks.language import LanguageModel
from benchmarks.models import load_model
from benchmarks.scoring import score_examples
from benchmarks.tasks import create_task
from tests.models import save_tiny_model, save_tiny_t5

TASK = create_task("pocket-math")
EXAMPLES = TASK.examples("train")[:3]


def test_a_decoder_has_the_rows_and_batches_of_its_tokenizer(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    language = LanguageModel(model.config, tokenizer)
    assert (language.task_type, language.loss) == ("CAUSAL_LM", causal_lm_loss)
    rows = language.rows(TASK, EXAMPLES)
    assert rows == encode_turns(TASK, EXAMPLES, tokenizer)
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
    assert language.rows(TASK, EXAMPLES) == encode_turns(TASK, EXAMPLES, tokenizer, encoder_decoder=True)
