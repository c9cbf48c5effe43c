"""What an executor would do with the runs of a plan: workers, waves, wall-clock time, and what it costs in all.

The time is that of the simulated schedule, by the queue that executors use, over the plan's own estimates: training
alone, no worker lost. Nothing is started and no cluster is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.dry_run import ComparisonPlan
from benchmarks.executors.local import visible_gpus, worker_count
from benchmarks.executors.simulation import Conditions, simulate
from benchmarks.settings import CompareSettings

#: Sizes that a plan is made for where nobody says how many workers there are.
CLUSTERS = (1, 8, 64, 256)
MACHINES = (1, 2, 4, 8)
# More are not scheduled one by one for a plan.
_MOST_RUNS = 20_000


@dataclass(frozen=True, kw_only=True)
class GridPlan:
    """How runs would be carried out.

    Attributes:
        runs: That are missing, as far as that is known.
        workers: At once.
        waves: Runs that the busiest worker has, if all are equally long.
        hours: Of wall-clock time; None if no run has an estimate.
        total_hours: Of all workers together, while they have a run at work.
        estimated: How many of the runs have an estimate.
    """

    runs: int
    workers: int
    waves: int
    hours: float | None
    total_hours: float
    estimated: int


def plan_grid(plan: ComparisonPlan, workers: int, *, trials: int | None = None) -> GridPlan:
    """Return how so many workers would carry out what is missing of a comparison.

    Args:
        plan: The comparison's.
        workers: At once.
        trials: Take so many trials of every method on every task in place of the final runs.
    """
    counts = [entry.seeds - (entry.finished or 0) if trials is None else trials for entry in plan.runs]
    missing = list(zip(counts, (entry.hours for entry in plan.runs), strict=True))
    runs = sum(count for count, _ in missing)
    hours = [each for count, each in missing if each is not None for _ in range(count)]
    families = [number for number, (count, each) in enumerate(missing) if each is not None for _ in range(count)]
    used = min(workers, max(1, runs))
    wall = None
    if hours:
        if len(hours) <= _MOST_RUNS:
            wall = simulate(hours, hours, Conditions(workers=used), families=families, learning=False).seconds
        else:
            wall = max(math.fsum(hours) / used, max(hours))
    return GridPlan(
        runs=runs,
        workers=used,
        waves=math.ceil(runs / used),
        hours=wall,
        total_hours=math.fsum(hours),
        estimated=len(hours),
    )


def _of_one(plan: ComparisonPlan, unit: str) -> list[str]:
    settings = plan.comparison.settings
    here = torch.cuda.is_available()
    if settings.executor == "inline":
        alone = _sentence("this process, one run after the other", plan, 1, unit)
        return [alone, *_better(settings)]
    if settings.executor == "ray":
        if settings.workers is None:
            return _of_sizes("a Ray cluster with room for {} at once", CLUSTERS, plan, unit)
        return [_sentence(f"{settings.workers} workers of a Ray cluster", plan, settings.workers, unit)]
    if settings.device == "cuda" and not here and settings.workers is None:
        return _of_sizes("a machine with GPUs for {}", MACHINES, plan, unit)
    on_gpus = here and settings.device != "cpu"
    count = settings.workers or (worker_count("cuda", None) if on_gpus else 1)
    where = "each with a GPU of its own" if on_gpus or settings.device == "cuda" else "sharing the CPU's cores"
    return [_sentence(f"{count} {'process' if count == 1 else 'processes'}, {where}", plan, count, unit)]


def _of_sizes(who: str, sizes: Sequence[int], plan: ComparisonPlan, unit: str) -> list[str]:
    """Say it for several sizes, up to the first that has room for everything."""
    found = []
    for size in sizes:
        found.append(_sentence(who.format(size), plan, size, unit))
        if size >= plan_grid(plan, size).runs:
            break
    return found


def _better(settings: CompareSettings) -> list[str]:
    """Say what the GPUs of this machine would be good for, if there are several and they would lie idle."""
    gpus = len(visible_gpus()) if settings.device != "cpu" and settings.device_map is None else 0
    if gpus < 2:
        return []
    return [f"this machine has {gpus} GPUs: --executor local would use them all, one run on each"]


def _sentence(who: str, plan: ComparisonPlan, workers: int, unit: str) -> str:
    trials = plan.comparison.settings.tune
    final = _runs(plan_grid(plan, workers), "runs" if trials is None else "final runs", unit)
    if trials is None:
        return f"{who}: {final}"
    return f"{who}: {_runs(plan_grid(plan, workers, trials=trials), 'trials', unit)}; then {final}"


def _runs(grid: GridPlan, name: str, unit: str) -> str:
    if not grid.runs:
        return "nothing is missing"
    text = f"{grid.runs} {name} in {grid.waves} {'wave' if grid.waves == 1 else 'waves'}"
    if grid.workers > 1:
        text += f" of {grid.workers}"
    if grid.hours is None:
        return f"{text}; no estimate of the time"
    rest = "" if grid.estimated == grid.runs else f" for the {grid.estimated} of them that have an estimate"
    text += f", about {hours_text(grid.hours)} h from the first to the last{rest}"
    return f"{text}, {hours_text(grid.total_hours)} {unit}"


def hours_text(hours: float) -> str:
    """Return hours with as many digits as are worth reading."""
    return f"{hours:.3f}" if hours < 0.1 else f"{hours:,.1f}"


def executor_sentences(plans: Sequence[ComparisonPlan], unit: str) -> list[str]:
    """Return what `--executor` would do with comparisons, each sentence with the name of its part if it has one.

    Args:
        plans: Of the comparisons.
        unit: What an hour of the estimates is an hour of, such as "GPU hours on one H200".
    """
    found = []
    for plan in plans:
        part = plan.comparison.part.name if plan.comparison.part is not None else ""
        found += [f"part {part}: {line}" if part else line for line in _of_one(plan, unit)]
    return found
