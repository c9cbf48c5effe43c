"""Accuracy and Matthews correlation against their definitions, written down for two classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from analysis import CrossEntropyLoss, Objective, ObjectiveError, ScoredLogits, accuracy, matthews_correlation
from analysis.scores import score_of


def objective(targets, answers, classes=2):
    """Return an objective whose model answers as told, in two batches of unequal size."""

    def logits(model, batch):
        labels, given = batch
        return ScoredLogits(nn.functional.one_hot(given, classes).double(), labels, torch.arange(len(labels)))

    pairs = torch.tensor(targets), torch.tensor(answers)
    batches = [tuple(part[:3] for part in pairs), tuple(part[3:] for part in pairs)]
    return Objective(nn.Linear(1, 1), batches, loss=CrossEntropyLoss(logits))


def test_two_classes_by_their_four_counts() -> None:
    found = objective([1, 1, 1, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 1, 0, 0])
    tp, fn, tn, fp = 2, 2, 3, 1
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews_correlation(found) == pytest.approx(expected, rel=1e-12)
    assert accuracy(found) == 5 / 8


def test_many_classes_by_the_correlation_of_indicators() -> None:
    generator = torch.Generator().manual_seed(0)
    targets, answers = (torch.randint(0, 4, (60,), generator=generator).tolist() for _ in range(2))
    x, y = (nn.functional.one_hot(torch.tensor(labels), 4).double() for labels in (targets, answers))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    expected = float((x * y).sum() / torch.sqrt((x * x).sum() * (y * y).sum()))
    assert matthews_correlation(objective(targets, answers, 4)) == pytest.approx(expected, rel=1e-12)


def test_the_extremes() -> None:
    assert matthews_correlation(objective([0, 1, 1, 0], [0, 1, 1, 0])) == 1.0
    assert matthews_correlation(objective([0, 1, 1, 0], [1, 0, 0, 1])) == -1.0
    assert matthews_correlation(objective([0, 1, 1, 0], [1, 1, 1, 1])) == 0.0


def test_a_loss_without_logits_has_no_score() -> None:
    other = Objective(nn.Linear(1, 1), [1], loss=lambda model, batch: (model.weight.sum(), 1))
    with pytest.raises(ObjectiveError, match="has no logits"):
        score_of("accuracy", other)(other.model)
