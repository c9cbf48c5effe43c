from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from analysis import causal_lm_loss
from benchmarks.encoding import encode_all
from benchmarks.likelihood import score_likelihoods
from benchmarks.loading import load_model
from benchmarks.tasks import Example
from tests.models import save_tiny_model

EXAMPLES = [Example(prompt="2+2=", completion="4"), Example(prompt="a long question, ", completion="and an answer")]


def test_a_score_is_the_inverse_perplexity_of_the_answer(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    model.eval()
    # The second has two turns, which count by their tokens.
    rows = [encode_all(EXAMPLES[:1], tokenizer), encode_all(EXAMPLES, tokenizer)]
    shares: list[float] = []
    found = score_likelihoods(model, EXAMPLES, rows, loss=causal_lm_loss, pad_id=0, size=2, on_progress=shares.append)
    for own, scored in zip(rows, found, strict=True):
        logs = []
        for row in own:
            log = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1).detach()
            logs += [float(log[t - 1, label]) for t, label in enumerate(row["labels"]) if label != -100]
        assert scored.score == pytest.approx(math.exp(sum(logs) / len(logs)), rel=1e-4)
    assert [s.index for s in found] == [0, 1]
    assert shares[-1] == 1.0
