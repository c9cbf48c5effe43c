"""Trains one run: the task's rows, a method in a `SharpnessTrainer`, and what is recorded on the way.

Validation loss and clean training loss are taken with everything off that will not be exported, as token-weighted
means. A step's time is taken around its forward and backward passes and the optimizer, without evaluations.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from analysis import Objective
from benchmarks.encoding import PaddedBatch, Row, batches
from benchmarks.environment import PeakMemory
from benchmarks.progress import Update
from benchmarks.spec import RunSpec
from bilora import Method, SharpnessTrainer, create_method

# Losses are logged this often over a run: enough for a curve, rare enough not to wait for a GPU each step.
_LOGS = 50
EVALUATION_BATCH = 64


class TrainingDiverged(RuntimeError):
    """The training loss is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What training leaves behind.

    Attributes:
        model: The PEFT model.
        method: The method, attached to it.
        history: Records of the training log and of the evaluations, each with its `step`.
        step_seconds: Median wall-clock time of an optimizer step.
        peak_memory_bytes: Peak during training, see `benchmarks.environment.PeakMemory`.
    """

    model: Any
    method: Method
    history: list[dict[str, float]]
    step_seconds: float
    peak_memory_bytes: int


class _Recorder(TrainerCallback):
    """Times steps, evaluates, stops on a loss that is not finite, and feeds the progress display."""

    def __init__(self, method: Method, evaluations: dict[str, Objective], every: int, update: Update) -> None:
        self.method = method
        self.evaluations = evaluations
        self.every = every
        self.update = update
        self.seconds: list[float] = []
        self.history: list[dict[str, float]] = []
        self._started = 0.0
        self._loss = math.nan

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._started)
        step = int(state.global_step)
        shown = "" if math.isnan(self._loss) else f" loss {self._loss:.3f}"
        self.update(step / state.max_steps, f"step {step}/{state.max_steps}{shown}")
        if self.every and (step % self.every == 0 or step == state.max_steps):
            with self.method.evaluation():
                losses = {name: objective.value() for name, objective in self.evaluations.items()}
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
    pad_id: int,
    train_rows: Sequence[Row],
    validation_rows: Sequence[Row],
    folder: Path,
    update: Update,
) -> TrainedRun:
    """Train the run that `spec` describes.

    Args:
        spec: The run.
        model: The base model, on its device; adapters are attached to it.
        pad_id: Padding token.
        train_rows: All training examples.
        validation_rows: Validation examples; the first `spec.evaluation_examples` are used.
        folder: A folder the Trainer may call its own; nothing of it is kept.
        update: Progress, `update(fraction, note)`.

    Raises:
        TrainingDiverged: If the loss stops being finite.
    """
    method = create_method(spec.method, **spec.options)
    torch.manual_seed(spec.seed)
    trainer = SharpnessTrainer(
        model,
        _arguments(spec, folder),
        method=method,
        peft_config=LoraConfig(
            r=spec.rank,
            lora_alpha=spec.alpha,
            lora_dropout=spec.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        train_dataset=list(train_rows),
        data_collator=PaddedBatch(pad_id),
    )
    count = spec.evaluation_examples
    evaluations = {
        name: Objective(trainer.model, batches(rows[:count], size=EVALUATION_BATCH, pad_id=pad_id))
        for name, rows in (("validation_loss", validation_rows), ("train_eval_loss", train_rows))
    }
    every = math.ceil(spec.steps / spec.evaluations) if spec.evaluations else 0
    recorder = _Recorder(method, evaluations, every, update)
    trainer.add_callback(recorder)
    trainer.remove_callback(PrinterCallback)
    memory = PeakMemory(torch.device(spec.device))
    trainer.train()
    return TrainedRun(
        model=trainer.model,
        method=method,
        history=sorted(recorder.history, key=lambda record: record["step"]),
        step_seconds=statistics.median(recorder.seconds),
        peak_memory_bytes=memory.read(),
    )


def _arguments(spec: RunSpec, folder: Path) -> Any:
    return TrainingArguments(
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
