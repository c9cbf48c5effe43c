"""Scores what a run has trained: a split, the first training examples, and the losses of both.

Of several ranks the first one scores; losses are taken by all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks import ranks
from benchmarks.architecture import Architecture, Drawn, Row
from benchmarks.columns import score_columns
from benchmarks.progress import RunProgress
from benchmarks.recorder import TrainingDiverged
from benchmarks.scoring import ScoredExample, metric_score
from benchmarks.spec import RunSpec
from benchmarks.tasks import Task
from benchmarks.training import EVALUATION_BATCH, TrainedRun

# Of a long training set, the loss is taken over its first rows.
LOSS_ROWS = 2048


def evaluate(
    spec: RunSpec,
    trained: TrainedRun,
    architecture: Architecture,
    task: Task,
    rows: dict[Any, Sequence[Row]],
    progress: RunProgress,
) -> tuple[list[ScoredExample], dict[str, Any]]:
    """Return the scored examples, and the columns of a run's row that come of them and of the losses.

    Args:
        spec: The run.
        trained: What training left behind.
        architecture: What the model is.
        task: The task.
        rows: The rows of `train` and of the `scored` split, on which losses are taken.
        progress: Where to report.

    Raises:
        TrainingDiverged: If a loss is not finite.
    """
    update = progress.stage("scoring")
    asked = architecture.asked(task, spec.scored)[: spec.test_examples]
    seen = architecture.asked(task, "train")[: spec.evaluation_examples]
    share = len(asked) / (len(asked) + len(seen))
    examples: list[ScoredExample] = []
    train_examples: list[ScoredExample] = []
    if ranks.is_first():
        examples = architecture.score(
            trained.model,
            task,
            asked,
            on_progress=lambda done: update(done * share, f"{len(asked)} {spec.scored} examples"),
        )
        train_examples = architecture.score(trained.model, task, seen)
    size = spec.evaluation_batch_size or EVALUATION_BATCH
    losses = {
        name: architecture.objective(trained.model, split[:LOSS_ROWS], size=size).value()
        for name, split in (("train_loss", rows["train"]), ("eval_loss", rows["scored"]))
    }
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the {name.replace('_', ' ')} of the trained model is {loss}", step=spec.steps)
    if not ranks.is_first():
        return [], losses
    return examples, {
        "metric": architecture.metric(task),
        "full_marks": task.full_marks,
        "score": metric_score(architecture.metric(task), examples),
        "train_score": metric_score(architecture.metric(task), train_examples),
        "loss_kind": architecture.loss_kind,
        **score_columns(examples),
        **losses,
        "generalization_gap": losses["eval_loss"] - losses["train_loss"],
    }


def draw(trained: TrainedRun, architecture: Architecture, task: Task, progress: RunProgress) -> Drawn | None:
    """Return the pictures that the report shows of a task that has some to draw beside its examples, or None."""
    update = progress.stage("scoring")
    return architecture.drawn(trained.model, task, on_progress=lambda done: update(done, "pictures for the report"))
