"""The columns of the exported runs, one by one: name, type, unit, what it is, and where it is read from.

This list is the export and its data dictionary at once, so that no column can be without a description. A value that a
run did not record, or that is not finite, is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from reports.fields import Record, mapping, number, text
from reports.runs import Run

Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class ExportColumn:
    """One column; `kind` is `text`, `integer`, `number` or `boolean`, `unit` may be empty."""

    name: str
    kind: str
    unit: str
    description: str
    read: Callable[[Run], Value]


def _text(name: str, description: str, read: Callable[[Run], Value]) -> ExportColumn:
    return ExportColumn(name=name, kind="text", unit="", description=description, read=read)


def _spec_text(name: str, description: str) -> ExportColumn:
    return _text(name, description, lambda run: text(run.spec, name) or None)


def _spec(name: str, unit: str, description: str, kind: str = "number") -> ExportColumn:
    return _number(name, unit, description, kind, lambda run: run.spec)


def _row(name: str, unit: str, description: str, kind: str = "number") -> ExportColumn:
    return _number(name, unit, description, kind, lambda run: run.row)


def _number(name: str, unit: str, description: str, kind: str, record: Callable[[Run], Record]) -> ExportColumn:
    def read(run: Run) -> Value:
        value = number(record(run), name)
        return int(value) if value is not None and kind == "integer" else value

    return ExportColumn(name=name, kind=kind, unit=unit, description=description, read=read)


def _environment(name: str, description: str) -> ExportColumn:
    return _text(name, description, lambda run: text(run.environment, name) or None)


def _seconds(stage: str, description: str) -> ExportColumn:
    def read(run: Run) -> Value:
        return number(run.seconds, stage)

    return ExportColumn(name=f"seconds_{stage}", kind="number", unit="s", description=description, read=read)


def _parts(run: Run) -> Value:
    names = text(run.row, "score_parts").split()
    return json.dumps({name: number(run.row, f"{name}_score") for name in names}) if names else None


def _space(space: str, words: str) -> tuple[ExportColumn, ...]:
    return (
        _row(f"lambda_max_{space}", "loss / norm^2", f"Largest Hessian eigenvalue in {words}."),
        _row(f"lambda_max_residual_{space}", "loss / norm^2", f"Residual of that eigenvalue in {words}."),
        _row(f"lambda_min_{space}", "loss / norm^2", f"Smallest Hessian eigenvalue in {words}."),
        _row(f"lambda_min_residual_{space}", "loss / norm^2", f"Residual of that eigenvalue in {words}."),
        _row(f"worst_case_{space}", "loss", f"Largest loss increase found within the radius in {words}."),
        _row(f"average_case_{space}", "loss", f"Mean loss increase over random displacements in {words}."),
    )


COLUMNS: tuple[ExportColumn, ...] = (
    _text("key", "Name of the run's folder.", lambda run: run.key),
    _text("method", "Method, as `variant+method` on another adapter than plain LoRA.", lambda run: run.method),
    _text("task", "Task.", lambda run: run.task),
    ExportColumn(name="seed", kind="integer", unit="", description="Seed of the training.", read=lambda run: run.seed),
    _spec_text("model", "Base model."),
    _spec_text("variant", "Adapter variant."),
    _spec_text("quantize", "Quantisation of the base; null without one."),
    _spec_text("task_version", "Version of the task's data and scoring."),
    _text("options", "Options of the method, a JSON object.", lambda run: _options(run)),
    _spec("steps", "count", "Optimizer steps.", "integer"),
    _spec("batch_size", "count", "Examples in a step.", "integer"),
    _spec("learning_rate", "", "Peak learning rate."),
    _spec("weight_decay", "", "Weight decay."),
    _spec("rank", "count", "Rank of the adapter.", "integer"),
    _spec("alpha", "", "Scale alpha of the adapter; the product is multiplied by alpha over rank."),
    _text("metric", "Name of the metric.", lambda run: text(run.row, "metric") or None),
    _row("full_marks", "", "What a score of one is written as: 100 is per cent.", "integer"),
    _row("score", "share of full marks", "Score on test examples."),
    _text("score_parts", "Scores of the parts of the metric, a JSON object; null where it has none.", _parts),
    _row("train_score", "share of full marks", "The same metric on training examples."),
    _row("train_loss", "loss of the task", "Mean loss on the training set."),
    _row("eval_loss", "loss of the task", "Mean loss on the test set."),
    _row("generalization_gap", "loss of the task", "Test loss minus training loss."),
    _row("step_seconds", "s", "Time of one optimizer step."),
    _row("step_gradients", "plain gradients", "Time of one step over that of a plain gradient timed beside it."),
    _row("gradient_evaluations", "count", "Gradient evaluations of the training."),
    _row("forward_evaluations", "count", "Forward passes without a gradient."),
    _row("extra_memory_bytes", "bytes", "What the method keeps beside the adapter."),
    _row("peak_memory_bytes", "bytes", "Largest memory use of training above what was held before."),
    _row("perturbation_norm", "Frobenius norm", "Weight-space norm of what the method perturbed."),
    _row("clip_active", "share", "Share of the steps at which the auxiliary was put back on its ball."),
    *_space("full", "the full space"),
    *_space("lora", "the LoRA space in the balanced gauge"),
    _text("started", "When the run began, ISO 8601.", lambda run: run.started or None),
    _text("finished", "When the run ended, ISO 8601.", lambda run: run.finished or None),
    _seconds("train", "Time of the training."),
    _seconds("evaluate", "Time of the scoring."),
    _seconds("measure", "Time of the sharpness measurement."),
    _environment("device", "Device."),
    _environment("torch", "Version of torch."),
    _environment("transformers", "Version of transformers."),
    _environment("peft", "Version of peft."),
    _environment("bilora", "Version of this project."),
    _environment("revision", "Revision of this project."),
    _text("failure", "Why a stage after training has no numbers; null if none failed.", lambda run: _failure(run)),
)


def _options(run: Run) -> Value:
    options = mapping(run.spec, "options")
    return json.dumps(dict(options), sort_keys=True) if options else None


def _failure(run: Run) -> Value:
    return str(run.failure) if run.failure else None
