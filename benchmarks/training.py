"""Trains one run: the task's rows, a method in a `SharpnessTrainer`, and what is recorded on the way.

Validation loss and clean training loss are taken with everything off that will not be exported, as token-weighted
means; `benchmarks.recorder` takes them, and the times. A run that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from analysis.dynamics import Dynamics
from benchmarks.architecture import Architecture, Batch, Row
from benchmarks.checkpoints import CheckpointCallback, Checkpoints, Resumed
from benchmarks.dynamics import DynamicsCallback
from benchmarks.progress import Update
from benchmarks.ranks import world_size
from benchmarks.recorder import Recorder, plain_gradient_seconds
from benchmarks.run_trainer import RunTrainer
from benchmarks.schedules import SCHEDULES
from benchmarks.spec import RunSpec
from bilora import Method, create_method
from bilora.graphed import GraphedBackward
from bilora.variants import VARIANTS, create_variant

# Losses are logged this often over a run: enough for a curve, rare enough not to wait for a GPU each step.
_LOGS = 50
# LoRA-GA's official code starts from the gradient of 64 batches of two examples.
_START_EXAMPLES = 128
EVALUATION_BATCH = 64
# With CUDA graphs each length is recorded once.
_LENGTHS = 16


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What training leaves behind.

    Attributes:
        model: The trained model, with its adapter if it has one.
        method: The method, attached to it.
        history: Records of the training log and of the evaluations, each with its `step`.
        step_seconds: Median wall-clock time of an optimizer step.
        step_gradients: Median ratio of a step's time to that of one plain gradient over as many examples, taken
            just before it: forward and backward pass of the primary adapter alone, no optimizer.
        dynamics: What happened to the adapters, if it was asked for.
        resumed: Steps at which training was resumed from a checkpoint.
        earlier_seconds: Time that it had taken before the last of them.
    """

    model: Any
    method: Method
    history: list[dict[str, float]]
    step_seconds: float
    step_gradients: float
    dynamics: Dynamics | None = None
    resumed: tuple[int, ...] = ()
    earlier_seconds: float = 0.0


def train(
    spec: RunSpec,
    model: Any,
    *,
    architecture: Architecture,
    train_rows: Sequence[Row],
    validation_rows: Sequence[Row],
    folder: Path,
    update: Update,
    checkpoints: Checkpoints | None = None,
) -> TrainedRun:
    """Train the run that `spec` describes.

    Args:
        spec: The run.
        model: The base model, on its device; adapters are attached to it.
        architecture: What it is.
        train_rows: All training examples.
        validation_rows: Validation examples; the first `spec.evaluation_examples` are used.
        folder: A folder the Trainer may call its own; nothing of it is kept.
        update: Progress, `update(fraction, note)`.
        checkpoints: Where training goes on from, and where it can be resumed later; None for neither.

    Raises:
        TrainingDiverged: If a loss stops being finite.
    """
    resumed = None if checkpoints is None else checkpoints.latest()
    method = create_method(spec.method, **spec.options)
    torch.manual_seed(spec.seed)
    multiple = _LENGTHS if spec.cuda_graphs else 1
    training_rows = architecture.packed(model, train_rows) if spec.packing else train_rows
    done = 0 if resumed is None else resumed.step
    skipped = rows_before(done, rows=len(training_rows), batch_size=spec.batch_size)
    collate = architecture.collator(seed=spec.seed, multiple=multiple, skipped=skipped)
    trainer = RunTrainer(
        model if method.trains_all_weights else _with_adapter(spec, model, train_rows, architecture),
        _arguments(spec, folder if checkpoints is None else checkpoints.folder),
        method=method,
        cuda_graphs=spec.cuda_graphs,
        train_dataset=training_rows,
        data_collator=collate,
    )
    recorder = _recorder(
        spec,
        trainer,
        architecture,
        rows={"validation_loss": validation_rows, "train_eval_loss": train_rows},
        reference=architecture.collator(seed=spec.seed, multiple=multiple)(training_rows[: spec.micro_batch_size]),
        update=update,
    )
    if resumed is not None:
        recorder.load_state_dict(resumed.recorder)
    dynamics = DynamicsCallback(method, every=spec.dynamics) if spec.dynamics else None
    if dynamics is not None:
        trainer.add_callback(dynamics)  # before the recorder, whose clock starts later
    trainer.add_callback(recorder)
    if checkpoints is not None and checkpoints.policy.active:
        trained = sum(parameter.numel() for parameter in method.trained_parameters())
        trainer.add_callback(CheckpointCallback(checkpoints, recorder.state_dict, parameters=trained, resumed=resumed))
    trainer.remove_callback(PrinterCallback)
    _train(trainer, resumed, steps=spec.steps)
    return TrainedRun(
        model=trainer.model,
        method=method,
        history=sorted(recorder.history, key=lambda record: record["step"]),
        step_seconds=statistics.median(recorder.seconds),
        step_gradients=statistics.median(recorder.ratios),
        dynamics=dynamics.finish() if dynamics is not None else None,
        resumed=() if resumed is None else resumed.steps,
        earlier_seconds=0.0 if resumed is None else resumed.seconds,
    )


def _recorder(
    spec: RunSpec,
    trainer: RunTrainer,
    architecture: Architecture,
    *,
    rows: Mapping[str, Sequence[Row]],
    reference: Batch,
    update: Update,
) -> Recorder:
    """Return what takes losses and times on the way.

    Args:
        spec: The run.
        trainer: Trains it.
        architecture: What the model is.
        rows: Name of a loss -> the rows it is taken on.
        reference: The micro-batch whose plain gradient steps are compared with.
        update: Progress.
    """
    count, size = spec.evaluation_examples, spec.evaluation_batch_size or EVALUATION_BATCH
    evaluations = {
        name: architecture.objective(trainer.model, examples[:count], size=size) for name, examples in rows.items()
    }
    passes = spec.batch_size // spec.micro_batch_size // world_size()
    graphed = GraphedBackward(trainer.model) if spec.cuda_graphs else None
    return Recorder(
        trainer.method,
        evaluations,
        partial(plain_gradient_seconds, trainer.method, reference, passes=passes, graphed=graphed),
        trainer.pop_losses,
        steps=spec.steps,
        evaluate_every=math.ceil(spec.steps / spec.evaluations) if spec.evaluations else 0,
        update=update,
    )


def rows_before(step: int, *, rows: int, batch_size: int) -> int:
    """Return how many rows the first `step` optimizer steps take; an epoch's last batch may be a small one."""
    epochs, rest = divmod(step, math.ceil(rows / batch_size))
    return epochs * rows + rest * batch_size


def _train(trainer: RunTrainer, resumed: Resumed | None, *, steps: int) -> None:
    if resumed is None:
        trainer.train()
    elif resumed.step < steps:
        trainer.train(resume_from_checkpoint=str(resumed.folder))
    else:
        # The Trainer would go on to the end of the epoch.
        trainer.load_trained(str(resumed.folder))


def _with_adapter(spec: RunSpec, model: Any, rows: Sequence[Row], architecture: Architecture) -> Any:
    """Return the model with the adapter of the run's variant, whose start the global seed has fixed."""
    settings: dict[str, Any] = {"alpha": spec.alpha} if VARIANTS[spec.variant].takes_alpha else {}
    named = spec.target_modules.split(",")
    targets = architecture.target_modules if named == ["all-linear"] else named
    settings |= {"task_type": architecture.task_type, "target_modules": targets}
    variant = create_variant(spec.variant, rank=spec.rank, dropout=spec.dropout, **settings)
    if variant.needs_gradients:
        device = next(model.parameters()).device
        estimated = architecture.batches(rows[:_START_EXAMPLES], size=spec.micro_batch_size)

        def forward_backward() -> None:
            for batch in estimated:
                model(**{name: values.to(device) for name, values in batch.items()}).loss.backward()

        variant.prepare(model, forward_backward)
    return variant.attach(model)


def _arguments(spec: RunSpec, folder: Path) -> Any:
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=spec.steps,
        per_device_train_batch_size=spec.micro_batch_size,
        gradient_accumulation_steps=spec.batch_size // spec.micro_batch_size // world_size(),
        ddp_find_unused_parameters=False,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=SCHEDULES[spec.schedule],
        warmup_steps=spec.warmup,
        weight_decay=spec.weight_decay,
        max_grad_norm=spec.max_grad_norm,
        seed=spec.seed,
        data_seed=spec.seed,
        use_cpu=spec.device == "cpu",
        save_strategy="no",
        logging_steps=max(1, spec.steps // _LOGS),
        # The filter would replace a loss that is not finite by zero.
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=spec.device != "cpu",
    )
    if arguments.n_gpu > 1:
        # The Trainer would share every batch among all GPUs it sees, and so train on batches as many times as large.
        arguments._n_gpu = 1
    return arguments
