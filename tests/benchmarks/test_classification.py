from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.classification import SequenceClassifier
from benchmarks.loading import LoadOptions, open_model
from benchmarks.tasks import Example
from benchmarks.tasks.glue import GlueMrpc
from tests.real_data import chat_tokenizer, save_classifier

TASK = GlueMrpc()
EXAMPLES = [
    Example(prompt="", completion="equivalent", texts=("Ida has three lamps.", "She has 3.")),
    Example(prompt="", completion="not_equivalent", texts=("Ida finds four.", "How many lamps does she have in all?")),
]


def test_a_row_is_the_texts_and_the_place_of_the_answer() -> None:
    tokenizer = chat_tokenizer()
    classifier = SequenceClassifier(tokenizer)
    rows = classifier.rows(TASK, EXAMPLES)
    assert [row["labels"] for row in rows] == [1, 0]
    assert rows[0]["input_ids"] == tokenizer(*EXAMPLES[0].texts)["input_ids"]
    batch = classifier.batches(rows, size=2)[0]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["attention_mask"].sum(dim=1).tolist() == [len(row["input_ids"]) for row in rows]
    assert classifier.collator(seed=0, multiple=32)(rows)["input_ids"].shape == (2, 32)
    assert len(SequenceClassifier(tokenizer, max_length=8).rows(TASK, EXAMPLES)[1]["input_ids"]) == 8


def test_the_loss_is_the_mean_over_examples_and_the_answer_the_largest_logit(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path)
    model, classifier = open_model(folder, device=torch.device("cpu"), options=LoadOptions(labels=2))
    assert isinstance(classifier, SequenceClassifier)
    model.eval()
    rows = classifier.rows(TASK, EXAMPLES)
    logits = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in rows])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 0]))
    assert classifier.objective(model, rows, size=1).value() == pytest.approx(float(expected.detach()), rel=1e-5)
    scored = classifier.score(model, TASK, EXAMPLES)
    assert [s.generated for s in scored] == [TASK.labels[place] for place in logits.argmax(1).tolist()]
    assert [s.score for s in scored] == [float(s.generated == s.reference) for s in scored]


def test_scores_are_taken_batch_by_batch_in_order() -> None:
    seen: list[int] = []

    class Model:
        device = torch.device("cpu")

        def __call__(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> SimpleNamespace:
            seen.append(len(input_ids))
            assert "labels" not in inputs
            return SimpleNamespace(logits=torch.tensor([[0.0, 1.0]] * len(input_ids)))

    classifier = SequenceClassifier(chat_tokenizer(), batch_size=2)
    scored = classifier.score(Model(), TASK, [*EXAMPLES, *EXAMPLES, EXAMPLES[0]])
    assert seen == [2, 2, 1]
    assert [s.index for s in scored] == [0, 1, 2, 3, 4]
    assert [s.score for s in scored] == [1, 0, 1, 0, 1]
