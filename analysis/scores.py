"""What a model gets right on the examples of an objective: accuracy, and the Matthews correlation of a classifier.

The paper's Table A6 follows the task's metric, not only the loss, under a step along the gradient. For any
cross-entropy objective the label with the largest logit is the model's answer: next tokens of a language model under
the true prefix, classes of a classifier.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn

from analysis import ranks
from analysis.objective import Objective


def accuracy(objective: Objective) -> float:
    """Return the share of the counted labels that have the largest logit, in [0, 1].

    Args:
        objective: Its loss must be a `CrossEntropyLoss`.
    """
    targets, answers = _answers(objective)
    return float((targets == answers).double().mean())


def matthews_correlation(objective: Objective) -> float:
    """Return the Matthews correlation of answers and labels, for any number of classes; 0 if either is constant.

    With s labels, c of them right, and t_k, p_k the times that class k is true and answered (Gorodkin, 2004):

        (c s - sum_k t_k p_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2))

    Args:
        objective: Its loss must be a `CrossEntropyLoss`.
    """
    targets, answers = _answers(objective)
    classes = int(torch.maximum(targets, answers).max()) + 1
    true, given = (torch.bincount(labels, minlength=classes).double() for labels in (targets, answers))
    count, right = float(len(targets)), float((targets == answers).sum())
    spread = (count**2 - float(given @ given)) * (count**2 - float(true @ true))
    return (right * count - float(true @ given)) / math.sqrt(spread) if spread > 0 else 0.0


SCORES: dict[str, Callable[[Objective], float]] = {"accuracy": accuracy, "mcc": matthews_correlation}


def score_of(name: str, objective: Objective) -> Callable[[nn.Module], float]:
    """Return a score as a function of the objective's model, as `robustness_curve` takes it."""
    return partial(_scored, SCORES[name], objective)


def _scored(score: Callable[[Objective], float], objective: Objective, _: nn.Module) -> float:
    return score(objective)


def _answers(objective: Objective) -> tuple[Tensor, Tensor]:
    """Return the labels and the classes of the largest logits, of all batches."""
    targets, answers = [], []
    with torch.no_grad():
        for index, weight in objective.passes():
            scored = objective.batch_logits(index)
            if weight:
                targets.append(scored.targets)
                answers.append(scored.values.argmax(dim=1))
    found: list[Any] = [targets, answers]
    if objective.shared:
        everyone: list[Any] = [None] * ranks.world_size()
        distributed.all_gather_object(everyone, [[part.cpu() for part in parts] for parts in found])
        found = [[part for own in everyone for part in own[place]] for place in (0, 1)]
    objective.checked_tokens(sum(map(len, found[0])))
    return torch.cat(found[0]), torch.cat(found[1])
