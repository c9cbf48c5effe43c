"""Trains one run: the task's rows, a method in a `SharpnessTrainer`, and what is recorded on the way.

Validation loss and clean training loss are taken with everything off that will not be exported, as token-weighted
means. A step's time is taken around its forward and backward passes and the optimizer, without evaluations. Now and
then one plain gradient is timed just before a step: their ratio is the method's cost in gradients, and does not
depend on how busy the machine was when one method or another had its turn.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from analysis import Objective
from analysis.dynamics import Dynamics
from benchmarks.architecture import Architecture, Row
from benchmarks.dynamics import DynamicsCallback
from benchmarks.environment import synchronize
from benchmarks.progress import Update
from benchmarks.spec import RunSpec
from bilora import Method, SharpnessTrainer, create_method
from bilora.graphed import GraphedBackward
from bilora.variants import VARIANTS, create_variant

# Losses are logged this often over a run: enough for a curve, rare enough not to wait for a GPU each step.
_LOGS = 50
# Plain gradients timed over a run.
_REFERENCES = 15
# LoRA-GA's official code starts from the gradient of 64 batches of two examples.
_START_EXAMPLES = 128
EVALUATION_BATCH = 64
# With CUDA graphs each length is recorded once.
_LENGTHS = 16


class TrainingDiverged(RuntimeError):
    """The training loss is no longer a finite number."""


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
    """

    model: Any
    method: Method
    history: list[dict[str, float]]
    step_seconds: float
    step_gradients: float
    dynamics: Dynamics | None = None


class _TokenMeanTrainer(SharpnessTrainer):
    """Divides the loss of an encoder-decoder by the tokens of all passes of a step, as a decoder does by itself.

    2026-11, transformers 5.24: T5 takes `num_items_in_batch` and leaves it aside, so that the passes of a step were
    added where a mean was meant. Classifiers do so as well; what is counted are their examples.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.get("labels")
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch=num_items_in_batch)
        apart = getattr(self.method.model.config, "is_encoder_decoder", False) or (
            labels is not None and labels.dim() == 1
        )
        if labels is not None and apart and num_items_in_batch is not None:
            logits = outputs["logits"].flatten(0, -2).float()
            targets = labels.flatten().to(logits.device)
            loss = cross_entropy(logits, targets, reduction="sum") / num_items_in_batch
        return (loss, outputs) if return_outputs else loss


class _Recorder(TrainerCallback):
    """Times steps, evaluates, stops on a loss that is not finite, and feeds the progress display."""

    def __init__(
        self,
        method: Method,
        evaluations: dict[str, Objective],
        reference: Callable[[], float],
        *,
        steps: int,
        evaluate_every: int,
        update: Update,
    ) -> None:
        self.method = method
        self.evaluations = evaluations
        self.reference = reference
        self.refer_every = math.ceil(steps / _REFERENCES)
        self.evaluate_every = evaluate_every
        self.update = update
        self.seconds: list[float] = []
        self.ratios: list[float] = []
        self.history: list[dict[str, float]] = []
        self._started = 0.0
        self._reference_seconds: float | None = None
        self._loss = math.nan

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The first step of a process is slower than any other; it is compared with nothing.
        due = state.global_step % self.refer_every == self.refer_every - 1 or state.global_step + 1 == state.max_steps
        self._reference_seconds = self.reference() if due else None
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        synchronize(args.device)
        self.seconds.append(time.perf_counter() - self._started)
        if self._reference_seconds is not None:
            self.ratios.append(self.seconds[-1] / self._reference_seconds)
        step = int(state.global_step)
        shown = "" if math.isnan(self._loss) else f" loss {self._loss:.3f}"
        self.update(step / state.max_steps, f"step {step}/{state.max_steps}{shown}")
        if self.evaluate_every and (step % self.evaluate_every == 0 or step == state.max_steps):
            with self.method.evaluation():
                losses = {name: found.value() for name, found in self.evaluations.items()}
            self.history.append({"step": step, **losses})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        self._loss = float(logs["loss"])
        if not math.isfinite(self._loss):
            raise TrainingDiverged(
                f"training diverged: the loss is {self._loss} at step {state.global_step}; lower --learning-rate "
                "or the method's rho"
            )
        self.history.append({"step": int(state.global_step), **{k: float(v) for k, v in logs.items()}})


def train(
    spec: RunSpec,
    model: Any,
    *,
    architecture: Architecture,
    train_rows: Sequence[Row],
    validation_rows: Sequence[Row],
    folder: Path,
    update: Update,
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

    Raises:
        TrainingDiverged: If the loss stops being finite.
    """
    method = create_method(spec.method, **spec.options)
    torch.manual_seed(spec.seed)
    multiple = _LENGTHS if spec.cuda_graphs else 1
    training_rows = architecture.packed(model, train_rows) if spec.packing else train_rows
    collate = architecture.collator(seed=spec.seed, multiple=multiple)
    trainer = _TokenMeanTrainer(
        model if method.trains_all_weights else _with_adapter(spec, model, train_rows, architecture),
        _arguments(spec, folder),
        method=method,
        cuda_graphs=spec.cuda_graphs,
        train_dataset=training_rows,
        data_collator=collate,
    )
    count = spec.evaluation_examples
    evaluations = {
        name: architecture.objective(trainer.model, rows[:count], size=spec.evaluation_batch_size or EVALUATION_BATCH)
        for name, rows in (("validation_loss", validation_rows), ("train_eval_loss", train_rows))
    }
    reference_batch = architecture.collator(seed=spec.seed, multiple=multiple)(training_rows[: spec.micro_batch_size])
    plain_gradient = GraphedBackward(trainer.model) if spec.cuda_graphs else None
    recorder = _Recorder(
        method,
        evaluations,
        partial(
            _plain_gradient_seconds,
            method,
            reference_batch,
            passes=spec.batch_size // spec.micro_batch_size,
            graphed=plain_gradient,
        ),
        steps=spec.steps,
        evaluate_every=math.ceil(spec.steps / spec.evaluations) if spec.evaluations else 0,
        update=update,
    )
    dynamics = DynamicsCallback(method, every=spec.dynamics) if spec.dynamics else None
    if dynamics is not None:
        trainer.add_callback(dynamics)  # before the recorder, whose clock starts later
    trainer.add_callback(recorder)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return TrainedRun(
        model=trainer.model,
        method=method,
        history=sorted(recorder.history, key=lambda record: record["step"]),
        step_seconds=statistics.median(recorder.seconds),
        step_gradients=statistics.median(recorder.ratios),
        dynamics=dynamics.finish() if dynamics is not None else None,
    )


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


def _plain_gradient_seconds(
    method: Method, batch: dict[str, torch.Tensor], *, passes: int, graphed: GraphedBackward | None
) -> float:
    """Time `passes` forward and backward passes of the exported model; gradients and generators are left alone."""
    device = next(method.model.parameters()).device
    inputs = {name: values.to(device) for name, values in batch.items()}
    with method.evaluation(), torch.random.fork_rng():
        parameters = method.weights.parameters
        kept = [p.grad for p in parameters]

        def take() -> None:
            if graphed is None:
                torch.autograd.grad(method.model(**inputs).loss, parameters, allow_unused=True)
            else:
                graphed(inputs)

        if graphed is not None:
            take()  # recorded, if it is the first
        synchronize(device)
        started = time.perf_counter()
        for _ in range(passes):
            take()
        synchronize(device)
        seconds = time.perf_counter() - started
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient
        return seconds


def _arguments(spec: RunSpec, folder: Path) -> Any:
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=spec.steps,
        per_device_train_batch_size=spec.micro_batch_size,
        gradient_accumulation_steps=spec.batch_size // spec.micro_batch_size,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="cosine",
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
