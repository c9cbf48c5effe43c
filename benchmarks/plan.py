"""Turns settings into the list of runs they mean, having checked everything that can be checked without running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from analysis import AnalysisError, FlatnessSettings, SpaceError
from benchmarks.choices import MethodChoice, check_baseline, read_choices
from benchmarks.devices import check_device_map, check_graphs, device_of
from benchmarks.errors import UsageError, nearest
from benchmarks.fit import check_fit
from benchmarks.hub import commit_of
from benchmarks.judge_models import judge_fingerprint, locate_judge
from benchmarks.landscapes import KINDS
from benchmarks.models import fingerprint, locate_model, shipped_models
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.tasks import DATA_TASKS, Task, create_task
from benchmarks.tasks.data_task import DataTask
from bilora.methods import METHODS


def plan_runs(settings: CompareSettings) -> tuple[list[RunSpec], dict[str, Path]]:
    """Return the specifications of all runs, and the folder of every base model by its name.

    Without `--model` every task is fine-tuned on its own base.

    Runs are ordered by seed, then task, then method, so that an interrupted comparison has whole pairs.

    Raises:
        UsageError: At the first name or combination that cannot be used.
    """
    choices = read_choices(settings.methods, quantize=settings.quantize, options=settings.options)
    check_baseline(settings.baseline, settings.methods, choices, quantize=settings.quantize)
    check_graphs(settings, choices)
    check_device_map(settings)
    _check_dynamics(settings, choices)
    tasks = [create_task(name, data=settings.data) for name in settings.tasks]
    _check_task_names(settings, tasks)
    if settings.data is not None and not any(name in DATA_TASKS for name in settings.tasks):
        raise UsageError(f"--data: none of --tasks {','.join(settings.tasks)} reads published data; leave it off")
    models = [_model(settings, task) for task in tasks]
    _check_tasks(tasks, choices)
    code = settings.trust_remote_code
    folders = {model: locate_model(model, trust_remote_code=code) for model in dict.fromkeys(models)}
    check_fit(settings, list(zip(tasks, models, strict=True)), folders, choices)
    for task in tasks:
        task.check()
    judges = _judges(settings)
    identities = {model: _Identity(fingerprint(folder), commit_of(folder)) for model, folder in folders.items()}
    specs = [
        _spec(settings, choice, task, seed, identities, judges)
        for seed in range(settings.seeds)
        for task in tasks
        for choice in choices
    ]
    return specs, folders


def _model(settings: CompareSettings, task: Task) -> str:
    if settings.model is None and isinstance(task, DataTask):
        raise UsageError(
            f"--model: {task.name} has no base that ships; name a folder or a model on the hub, such as "
            f"{task.suggestion}"
        )
    if settings.model is None and task.base not in shipped_models():
        raise UsageError(
            f"--tasks: {task.name} is made for the base {task.base}, which is not here; make it with "
            f"python -m benchmarks.pocket.pretrain --model {task.base}, or name another one with --model"
        )
    return settings.model or task.base


def _check_task_names(settings: CompareSettings, tasks: Sequence[Task]) -> None:
    """Refuse files of equal names in different folders: a report knows tasks by name and would take them for one."""
    given: dict[str, str] = {}
    for name, task in zip(settings.tasks, tasks, strict=True):
        if task.name in given:
            raise UsageError(
                f"--tasks: {given[task.name]} and {name} are both called {task.name} in a report; rename one of the "
                "files, or compare on each by itself"
            )
        given[task.name] = name


def _check_tasks(tasks: Sequence[Task], choices: Sequence[MethodChoice]) -> None:
    """Refuse methods that make no sense on a task."""
    for task in tasks:
        for choice in choices:
            reason = task.refusal(method=choice.method, variant=choice.variant, quantize=choice.quantize)
            if reason is not None:
                raise UsageError(f"--methods: {choice.label} on {task.name} is refused: {reason}")


class _Identity(NamedTuple):
    """What stands for a model's files in a run: a hash of them, and the commit of those from the hub."""

    fingerprint: str
    revision: str | None


def _spec(
    settings: CompareSettings,
    choice: MethodChoice,
    task: Task,
    seed: int,
    identities: Mapping[str, _Identity],
    judges: str | None,
) -> RunSpec:
    recipe, model = task.recipe, _model(settings, task)
    batch_size = settings.batch_size or recipe.batch_size
    micro_batch_size = settings.micro_batch_size or largest_divisor(batch_size, recipe.micro_batch_size)
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
        task_version=task.edition,
        model=model,
        model_fingerprint=identities[model].fingerprint,
        revision=identities[model].revision,
        seed=seed,
        steps=settings.steps or task.steps(batch_size),
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
        device=device_of(settings),
        cuda_graphs=settings.cuda_graphs,
        dynamics=settings.dynamics,
        dtype=settings.dtype,
        attention=settings.attention,
        device_map=settings.device_map,
        gradient_checkpointing=settings.gradient_checkpointing,
        trust_remote_code=settings.trust_remote_code,
        target_modules=",".join(settings.target_modules),
        chat_template=settings.chat_template,
        max_length=settings.max_length or recipe.max_length,
        packing=settings.packing,
        evaluation_batch_size=settings.evaluation_batch_size or recipe.evaluation_batch_size,
        data=str(task.data) if isinstance(task, DataTask) and task.data is not None else None,
        schedule=settings.schedule,
        resolution=settings.resolution,
        clip_model=settings.clip_model,
        caption_model=settings.caption_model,
        judges=judges,
    )


def _judges(settings: CompareSettings) -> str | None:
    """Return what stands in a key for the models that judge pictures, having found them."""
    given = (("--clip-model", settings.clip_model), ("--caption-model", settings.caption_model))
    found = [judge_fingerprint(locate_judge(name, flag=flag)) for flag, name in given if name is not None]
    return "+".join(found) or None


def largest_divisor(batch_size: int, largest: int | None) -> int:
    """Return the largest divisor of a batch that is not above the recipe's micro-batch."""
    return next(n for n in range(min(largest or batch_size, batch_size), 0, -1) if batch_size % n == 0)


def _check_dynamics(settings: CompareSettings, choices: Sequence[MethodChoice]) -> None:
    """Refuse to record what is no pair of factors with the weight change s B A."""
    other = [c.label for c in choices if c.variant != "lora" or METHODS[c.method].trains_all_weights]
    if settings.dynamics is not None and other:
        raise UsageError(
            f"--dynamics: {other[0]} does not train factors whose product is the weight change; leave it out of "
            "--methods, or the flag off"
        )


def _measurement(settings: CompareSettings) -> dict[str, Any] | None:
    for kind in settings.landscape or ():
        if kind not in KINDS:
            raise UsageError(f"--landscape: found {kind!r}{nearest(kind, KINDS)}; expected any of {', '.join(KINDS)}")
    if settings.landscape and not settings.measure:
        raise UsageError("--landscape: found with --measure false; leave one of them off")
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
    measured = {"examples": settings.measure_examples, "flatness": asdict(flatness)}
    # Absent unless asked for: runs from before there was a choice keep their keys.
    return measured | {"landscape": sorted(settings.landscape)} if settings.landscape else measured
