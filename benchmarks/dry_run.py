"""What a comparison would do, found out without doing any of it: runs, steps, what is finished, time and memory.

Neither weights nor data need be here. Everything that can be wrong about settings, names and options is refused as by
the comparison itself; a model or task that is missing is part of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.choices import MethodChoice
from benchmarks.errors import UsageError
from benchmarks.estimates import HUB_SHAPES, Estimate, Step, estimate, pocket_estimate
from benchmarks.models import locate_model, shipped_models
from benchmarks.plan import check_replayable, plan_runs
from benchmarks.presets import TRAINING_DATA
from benchmarks.request import Comparison
from benchmarks.settings import CompareSettings
from benchmarks.store import RunStore
from benchmarks.tasks import TASKS, create_task
from bilora.methods import METHODS

#: Tokens of a row where nothing says how long rows are.
ASSUMED_TOKENS = 256
# The latents of a picture are an eighth of its side.
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
        tokens: Of a row, as the estimate takes them.
    """

    comparison: Comparison
    runs: tuple[PlannedRuns, ...]
    models: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: str
    tokens: int


def plan_comparison(comparison: Comparison) -> ComparisonPlan:
    """Return the plan of a comparison.

    Raises:
        UsageError: At the first setting, name or option that cannot be used.
    """
    settings = comparison.settings
    choices = comparison.check_names()
    if settings.cuda_graphs:
        check_replayable(choices)
    missing = [*_missing_tasks(settings.tasks), *_missing_models(settings)]
    finished: dict[tuple[str, str], int] | None = None
    unknown = "; ".join(missing)
    if not missing:
        finished = _finished(comparison)
    tokens = _tokens(comparison)
    runs = tuple(
        _planned(comparison, task, choice, name, tokens, finished)
        for task in settings.tasks
        for name, choice in zip(settings.methods, choices, strict=True)
    )
    models = dict.fromkeys(_model(settings, task) for task in settings.tasks)
    return ComparisonPlan(
        comparison=comparison, runs=runs, models=tuple(models), missing=tuple(missing), unknown=unknown, tokens=tokens
    )


def _missing_tasks(tasks: Sequence[str]) -> list[str]:
    missing = []
    for task in tasks:
        if task in TASKS:
            create_task(task).check()
        elif task in TRAINING_DATA:
            missing.append(f"this version has no task {task}")
        else:
            create_task(task)  # raises, naming the nearest
    return missing


def _missing_models(settings: CompareSettings) -> list[str]:
    missing = []
    for model in dict.fromkeys(_model(settings, task) for task in settings.tasks):
        try:
            if model:
                locate_model(model)
        except UsageError as error:
            if model not in HUB_SHAPES:
                raise error
            missing.append(f"the model {model} is not a folder here")
    return missing


def _model(settings: CompareSettings, task: str) -> str:
    if settings.model is not None:
        return settings.model
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


def _tokens(comparison: Comparison) -> int:
    resolution = comparison.real("resolution")
    if resolution is not None:
        return (int(resolution) // _PIXELS_OF_A_LATENT) ** 2
    return int(comparison.real("max_length") or ASSUMED_TOKENS)


def _planned(
    comparison: Comparison,
    task: str,
    choice: MethodChoice,
    name: str,
    tokens: int,
    finished: dict[tuple[str, str], int] | None,
) -> PlannedRuns:
    own = comparison.settings_of(task, name)
    recipe = TASKS[task].recipe if task in TASKS else None
    steps = own.steps or (recipe.steps if recipe else None)
    batch_size = own.batch_size or (recipe.batch_size if recipe else 1)
    rows = own.micro_batch_size or batch_size
    _check(own, steps, batch_size)
    return PlannedRuns(
        task=task,
        label=choice.label,
        seeds=own.seeds,
        steps=steps,
        passes=batch_size // rows,
        finished=None if finished is None else finished[task, choice.label],
        estimate=_estimate(comparison, own, choice, rows=rows, tokens=tokens, model=_model(own, task)),
    )


def _check(own: CompareSettings, steps: int | None, batch_size: int) -> None:
    """Refuse what the comparison would refuse, on a task and a model that are always here."""
    plan_runs(
        replace(
            own, tasks=(_STAND_IN,), model=None, steps=steps, batch_size=batch_size, device="auto", cuda_graphs=False
        )
    )


def _estimate(
    comparison: Comparison, own: CompareSettings, choice: MethodChoice, *, rows: int, tokens: int, model: str
) -> Estimate | None:
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
            dtype=comparison.real("dtype") or "bfloat16",
        )
        return estimate(step)
    return pocket_estimate(choice.method, rows=rows) if model == "pocket-llama" else None
