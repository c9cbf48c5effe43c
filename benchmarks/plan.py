"""Turns settings into the list of runs they mean, having checked everything that can be checked without running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from analysis import AnalysisError, FlatnessSettings, SpaceError
from benchmarks.choices import MethodChoice, label_of, read_choices
from benchmarks.errors import UsageError
from benchmarks.models import fingerprint, locate_model, medium_of, shipped_models
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.tasks import Task, create_task
from bilora.methods import METHODS


def plan_runs(settings: CompareSettings) -> tuple[list[RunSpec], dict[str, Path]]:
    """Return the specifications of all runs, and the folder of every base model by its name.

    Without `--model` every task is fine-tuned on its own base.

    Runs are ordered by seed, then task, then method, so that an interrupted comparison has whole pairs.

    Raises:
        UsageError: At the first name or combination that cannot be used.
    """
    choices = read_choices(settings.methods, quantize=settings.quantize, options=settings.options)
    labels = [choice.label for choice in choices]
    if label_of(settings.baseline, quantize=settings.quantize) not in labels:
        raise UsageError(
            f"--baseline: {settings.baseline!r} is not among --methods {','.join(settings.methods)}; add it, or "
            "name one of them"
        )
    _check_graphs(settings, choices)
    _check_dynamics(settings, choices)
    tasks = [create_task(name) for name in settings.tasks]
    for task in tasks:
        task.check()
    _check_tasks(tasks, choices)
    folders = {model: locate_model(model) for model in dict.fromkeys(_model(settings, task) for task in tasks)}
    _check_media(settings, tasks, folders)
    fingerprints = {model: fingerprint(folder) for model, folder in folders.items()}
    specs = [
        _spec(settings, choice, task, seed, fingerprints)
        for seed in range(settings.seeds)
        for task in tasks
        for choice in choices
    ]
    return specs, folders


def _model(settings: CompareSettings, task: Task) -> str:
    if settings.model is None and task.base not in shipped_models():
        raise UsageError(
            f"--tasks: {task.name} is made for the base {task.base}, which is not here; make it with "
            f"python -m benchmarks.pocket.pretrain --model {task.base}, or name another one with --model"
        )
    return settings.model or task.base


def _check_tasks(tasks: Sequence[Task], choices: Sequence[MethodChoice]) -> None:
    """Refuse methods that make no sense on a task."""
    for task in tasks:
        for choice in choices:
            reason = task.refusal(method=choice.method, variant=choice.variant, quantize=choice.quantize)
            if reason is not None:
                raise UsageError(f"--methods: {choice.label} on {task.name} is refused: {reason}")


def _check_media(settings: CompareSettings, tasks: Sequence[Task], folders: Mapping[str, Path]) -> None:
    """Refuse a base that answers with another thing than the task asks for."""
    for task in tasks:
        model = _model(settings, task)
        if medium_of(folders[model]) != task.medium:
            raise UsageError(
                f"--model: {model} answers with a {medium_of(folders[model])}, and {task.name} asks for a "
                f"{task.medium}; its own base is {task.base}"
            )


def _spec(
    settings: CompareSettings, choice: MethodChoice, task: Task, seed: int, fingerprints: Mapping[str, str]
) -> RunSpec:
    recipe, model = task.recipe, _model(settings, task)
    batch_size = settings.batch_size or recipe.batch_size
    micro_batch_size = settings.micro_batch_size or batch_size
    if batch_size % micro_batch_size:
        raise UsageError(
            f"--micro-batch-size: {micro_batch_size} does not divide the batch size {batch_size}; choose a divisor"
        )
    return RunSpec(
        method=choice.method,
        variant=choice.variant,
        quantize=choice.quantize,
        options=choice.options,
        task=task.name,
        task_version=task.version,
        model=model,
        model_fingerprint=fingerprints[model],
        seed=seed,
        steps=settings.steps or recipe.steps,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        learning_rate=settings.learning_rate or recipe.learning_rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        rank=settings.rank,
        alpha=settings.alpha,
        dropout=settings.dropout,
        evaluations=settings.evaluations,
        evaluation_examples=settings.evaluation_examples,
        test_examples=settings.test_examples,
        measurement=_measurement(settings),
        device=_device(settings),
        cuda_graphs=settings.cuda_graphs,
        dynamics=settings.dynamics,
    )


def _check_graphs(settings: CompareSettings, choices: Sequence[MethodChoice]) -> None:
    """Refuse CUDA graphs where not all methods can have them: their times would not be comparable."""
    if not settings.cuda_graphs:
        return
    if _device(settings) != "cuda":
        raise UsageError("--cuda-graphs: found true, and the runs are on the cpu; they need --device cuda")
    changing = [choice.label for choice in choices if not METHODS[choice.method].replayable]
    if changing:
        raise UsageError(
            f"--cuda-graphs: passes of {', '.join(changing)} change from step to step and cannot be replayed; leave "
            "these methods out, or the flag off"
        )


def _check_dynamics(settings: CompareSettings, choices: Sequence[MethodChoice]) -> None:
    """Refuse to record what is no pair of factors with the weight change s B A."""
    other = [c.label for c in choices if c.variant != "lora" or METHODS[c.method].trains_all_weights]
    if settings.dynamics is not None and other:
        raise UsageError(
            f"--dynamics: {other[0]} does not train factors whose product is the weight change; leave it out of "
            "--methods, or the flag off"
        )


def _measurement(settings: CompareSettings) -> dict[str, Any] | None:
    if not settings.measure:
        return None
    try:
        flatness = FlatnessSettings(
            spaces=settings.spaces,
            radius=settings.radius,
            average_radius=settings.average_radius,
            top=settings.top,
            bottom=settings.bottom,
            tolerance=settings.tolerance,
            max_products=settings.max_products,
            ascent_steps=settings.ascent_steps,
        )
    except SpaceError as error:
        raise UsageError(f"--spaces: {error}") from None
    except AnalysisError as error:
        raise UsageError(f"sharpness settings (see --help): {error}") from None
    return {"examples": settings.measure_examples, "flatness": asdict(flatness)}


def _device(settings: CompareSettings) -> str:
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise UsageError("--device: cuda was asked for and torch sees no CUDA device; expected auto or cpu here")
    return "cuda" if settings.device == "cuda" or (settings.device == "auto" and available) else "cpu"
