"""What a comparison would do, found out without doing any of it: runs, steps, what is finished, time and memory.

Neither weights nor data need be here. Everything that can be wrong about settings, names and options is refused as by
the comparison itself; a model or task that is missing is part of the plan.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from benchmarks.choices import MethodChoice
from benchmarks.devices import check_replayable
from benchmarks.drawing_plan import SIDE, drawing_sentences
from benchmarks.errors import UsageError
from benchmarks.estimates import HUB_SHAPES, Estimate, Step, estimate, pocket_estimate
from benchmarks.executors import check_executor
from benchmarks.hub import is_cached, is_hub_name
from benchmarks.judge_models import locate_judge
from benchmarks.models import locate_model, shipped_models
from benchmarks.plan import largest_divisor, plan_runs
from benchmarks.presets import TRAINING_DATA
from benchmarks.request import Comparison
from benchmarks.settings import CompareSettings
from benchmarks.store import RunStore
from benchmarks.tasks import DATA_TASKS, TASKS, Recipe, create_task
from benchmarks.tasks.own_data import PREFIX, OwnData
from benchmarks.tasks.own_pictures import PREFIX as PICTURES
from benchmarks.tasks.own_pictures import OwnPictures
from bilora.methods import METHODS

#: Tokens of a row where nothing says how long rows are.
ASSUMED_TOKENS = 256
# SDXL's latents are an eighth of a picture's side.
_PIXELS_OF_A_LATENT = 8
# A task that checks settings in place of one that is not here.
_STAND_IN = "pocket-math"


@dataclass(frozen=True, kw_only=True)
class PlannedRuns:
    """The runs of one method on one task, one for each seed.

    Attributes:
        task: Name of the task.
        label: Of the method.
        seeds: How many.
        steps: Optimizer steps of each; None where nothing says how many.
        passes: Forward passes of a step.
        finished: How many are stored already; None where that cannot be known.
        estimate: Of one forward and backward pass, or None.
    """

    task: str
    label: str
    seeds: int
    steps: int | None
    passes: int
    finished: int | None
    estimate: Estimate | None

    @property
    def hours(self) -> float | None:
        """Of training of one run."""
        if self.estimate is None or self.steps is None:
            return None
        return self.estimate.seconds * self.passes * self.steps / 3600


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """The plan of one comparison.

    Attributes:
        comparison: What was asked for.
        runs: In the order of tasks and methods.
        models: The base of every task.
        missing: What must be made or fetched before it can run, a sentence each.
        unknown: Why it is not known which runs are finished; empty where it is.
        tokens: Of a row of every task, as the estimate takes them.
        drawing: What drawing comes to beside training, a sentence for every task that asks for pictures.
    """

    comparison: Comparison
    runs: tuple[PlannedRuns, ...]
    models: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: str
    tokens: tuple[int, ...]
    drawing: tuple[str, ...] = ()


def plan_comparison(comparison: Comparison) -> ComparisonPlan:
    """Return the plan of a comparison.

    Raises:
        UsageError: At the first setting, name or option that cannot be used.
    """
    settings = comparison.settings
    choices = comparison.check_names()
    if settings.cuda_graphs:
        check_replayable(choices)
    _check_tasks(settings)
    # GPUs need not be here either.
    check_executor(settings, "cpu")
    missing = _missing_models(settings)
    finished: dict[tuple[str, str], int] | None = None
    unread = [task for task in settings.tasks if task in DATA_TASKS and settings.data is None]
    unknown = "; ".join(missing)
    if not missing and unread:
        unknown = f"data on the hub are part of a run's key and not read for a plan ({unread[0]}); --data reads a copy"
    if not unknown:
        finished = _finished(comparison)
    tokens = {task: _tokens(comparison, task) for task in settings.tasks}
    runs = tuple(
        _planned(comparison, task, choice, name, tokens[task], finished)
        for task in settings.tasks
        for name, choice in zip(settings.methods, choices, strict=True)
    )
    models = dict.fromkeys(_model(settings, task) for task in settings.tasks)
    return ComparisonPlan(
        comparison=comparison,
        runs=runs,
        models=tuple(models),
        missing=tuple(missing),
        unknown=unknown,
        tokens=tuple(tokens.values()),
        drawing=drawing_sentences(settings),
    )


def _check_tasks(settings: CompareSettings) -> None:
    for task in settings.tasks:
        created = create_task(task, data=settings.data)
        if task in TASKS:
            created.check()


def _missing_models(settings: CompareSettings) -> list[str]:
    missing = []
    for model in dict.fromkeys(_model(settings, task) for task in settings.tasks):
        if not is_hub_name(model) or os.path.isdir(model):
            if model:
                locate_model(model, trust_remote_code=settings.trust_remote_code)
        elif not is_cached(model):
            missing.append(f"the model {model} is neither a folder here nor in the cache of the hub")
    for flag, judge in (("--clip-model", settings.clip_model), ("--caption-model", settings.caption_model)):
        if judge is not None and (not is_hub_name(judge) or os.path.isdir(judge) or is_cached(judge)):
            locate_judge(judge, flag=flag)
        elif judge is not None:
            missing.append(f"the model {judge} of {flag} is neither a folder here nor in the cache of the hub")
    return missing


def _model(settings: CompareSettings, task: str) -> str:
    if settings.model is not None:
        return settings.model
    if task in DATA_TASKS or task.startswith((PREFIX, PICTURES)):
        raise UsageError(f"--model: {task} has no base that ships; name a folder or a model on the hub")
    base = TASKS[task].base if task in TASKS else ""
    # A base that is to be made first is refused by `plan_runs`, which says how.
    return base if base in shipped_models() else ""


def _finished(comparison: Comparison) -> dict[tuple[str, str], int]:
    store = RunStore(comparison.settings.out)
    found: dict[tuple[str, str], int] = {}
    for spec in comparison.plan()[0]:
        name = (spec.task, spec.label)
        found[name] = found.get(name, 0) + store.is_complete(spec.key)
    return found


def _tokens(comparison: Comparison, task: str) -> int:
    if task.startswith(PICTURES) or (task in DATA_TASKS and DATA_TASKS[task].medium == "picture"):
        return ((comparison.settings.resolution or SIDE) // _PIXELS_OF_A_LATENT) ** 2
    recipe = _recipe(task)
    return comparison.settings.max_length or (recipe and recipe.max_length) or ASSUMED_TOKENS


def _planned(
    comparison: Comparison,
    task: str,
    choice: MethodChoice,
    name: str,
    tokens: int,
    finished: dict[tuple[str, str], int] | None,
) -> PlannedRuns:
    own = comparison.settings_of(task, name)
    recipe = _recipe(task)
    batch_size = own.batch_size or (recipe.batch_size if recipe else 1)
    steps = own.steps or (recipe and _steps(own, task, recipe, batch_size)) or None
    rows = own.micro_batch_size or largest_divisor(batch_size, recipe.micro_batch_size if recipe else None)
    _check(own, recipe, steps, batch_size)
    return PlannedRuns(
        task=task,
        label=choice.label,
        seeds=own.seeds,
        steps=steps,
        passes=batch_size // rows,
        finished=None if finished is None else finished[create_task(task, data=own.data).name, choice.label],
        estimate=_estimate(own, choice, rows=rows, tokens=tokens, model=_model(own, task)),
    )


def _recipe(task: str) -> Recipe | None:
    known = {**TASKS, **DATA_TASKS}
    if task in known:
        return known[task].recipe
    own = {PREFIX: OwnData, PICTURES: OwnPictures}
    return next((kind.recipe for prefix, kind in own.items() if task.startswith(prefix)), None)


def _steps(own: CompareSettings, task: str, recipe: Recipe, batch_size: int) -> int:
    """Return the steps of a recipe, which of data from elsewhere follow from its epochs; local data are read."""
    if task.startswith((PREFIX, PICTURES)) or (task in DATA_TASKS and own.data is not None):
        return create_task(task, data=own.data).steps(batch_size)
    if recipe.epochs and task in TRAINING_DATA:
        return TRAINING_DATA[task].steps(epochs=recipe.epochs, batch_size=batch_size)
    return recipe.steps


def _check(own: CompareSettings, recipe: Recipe | None, steps: int | None, batch_size: int) -> None:
    """Refuse what the comparison would refuse, on a task and a model that are always here."""
    stands_in = replace(own, tasks=(_STAND_IN,), model=None, data=None, target_modules=("all-linear",))
    stands_in = replace(stands_in, resolution=None, clip_model=None, caption_model=None)
    # Packed rows are refused without steps of their own and without a length, which the task's recipe may have.
    steps = own.steps if own.packing else steps
    max_length = own.max_length or (recipe.max_length if recipe else None)
    stands_in = replace(stands_in, steps=steps, batch_size=batch_size, max_length=max_length)
    plan_runs(replace(stands_in, device="auto", cuda_graphs=False))


def _estimate(own: CompareSettings, choice: MethodChoice, *, rows: int, tokens: int, model: str) -> Estimate | None:
    if model in HUB_SHAPES:
        step = Step(
            model=HUB_SHAPES[model],
            method=choice.method,
            quantize=choice.quantize,
            rows=rows,
            tokens=tokens,
            graphed=own.cuda_graphs,
            trains_all_weights=METHODS[choice.method].trains_all_weights,
            rank=own.rank,
            dtype=own.dtype,
            gradient_checkpointing=own.gradient_checkpointing,
        )
        return estimate(step)
    return pocket_estimate(choice.method, rows=rows) if model == "pocket-llama" else None
