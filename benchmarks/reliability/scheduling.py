"""Ten thousand runs on 256 workers, on paper: how much of the time workers would be idle, and why.

The grid is every method whose step was measured times every pocket task, over as many seeds as make the number up. How
long a run takes is put together from what was measured on two CPU cores: training of plain LoRA on the task times the
method's cost, scoring, and measuring (`results/pocket-suite-cpu.json`, `results/step-cost-methods.json`). Runs spread
around that as scoring and measuring did, which are the same work for all methods. The queue starts from what the plan
knows, which is less: it takes all tasks of a method to be equally long, and learns the rest from runs that finish.

Idle is what `benchmarks.executors.busy` leaves: from the first run's start to the last one's end, workers without a run
at work. The command's own start is told beside it. The same grid is simulated with other policies and conditions, so
that the reason for the policy can be seen.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.estimates import RESULTS, pocket_estimate
from benchmarks.executors.busy import busy_share
from benchmarks.executors.simulation import Conditions, lower_bound, simulate

STEPS, ROWS = 120, 16
#: Share of the workers' time that may be idle.
MOST_IDLE = 0.01
#: Grids that are drawn for every row of the record.
REPEATS = 20
#: What a grid meets. Workers were ready 12 to 14 s after the command, and began their next run within 0.004 s of the
#: last one's end (`results/grid-busy-h200.json`); 10 to 15 s and 0.01 s are taken. A checkpoint is written every 60 s.
#: That a worker is lost once in 50 hours, and is back a minute later, is assumed; the rate is varied.
CONDITIONS = Conditions(
    workers=256, start=(10.0, 15.0), pause=0.01, losses_per_hour=1 / 50, restart=60.0, checkpoint=60.0
)


@dataclass(frozen=True, kw_only=True)
class PaperGrid:
    """The runs of a grid that is not carried out.

    Attributes:
        guesses: Seconds that the plan expects of each.
        means: Seconds that such a run takes in the mean.
        families: Method and task.
        spread: Standard deviation of the logarithm of a run's seconds.
    """

    guesses: tuple[float, ...]
    means: tuple[float, ...]
    families: tuple[tuple[str, str], ...]
    spread: float

    def drawn(self, generator: np.random.Generator) -> list[float]:
        """Return seconds of every run, around its mean."""
        noise = generator.lognormal(-(self.spread**2) / 2, self.spread, len(self.means))
        return [mean * float(factor) for mean, factor in zip(self.means, noise, strict=True)]


def paper_grid(runs: int) -> PaperGrid:
    """Return a grid of so many runs, in the order of a comparison: by seed, then task, then method."""
    tasks = json.loads((RESULTS / "pocket-suite-cpu.json").read_text())["tasks"]
    records = json.loads((RESULTS / "step-cost-methods.json").read_text())["records"]
    costs = {r["method"]: r["ratio_to_our_lora"] for r in records if r["path"] == "fused" and r["ratio_to_our_lora"]}
    pairs: list[tuple[tuple[str, str], float, float]] = []
    for task, found in tasks.items():
        stages = found["stages"]
        same = statistics.fmean(_same_work(stages))
        for method, cost in costs.items():
            estimate = pocket_estimate(method, rows=ROWS)
            assert estimate is not None
            pairs.append(((method, task), estimate.seconds * STEPS, stages["lora"]["train"] * cost + same))
    chosen = [pairs[number % len(pairs)] for number in range(runs)]
    return PaperGrid(
        guesses=tuple(guess for _, guess, _ in chosen),
        means=tuple(mean for _, _, mean in chosen),
        families=tuple(family for family, _, _ in chosen),
        spread=_spread([_same_work(found["stages"]) for found in tasks.values()]),
    )


def _same_work(stages: dict[str, dict[str, float]]) -> list[float]:
    """Return the seconds of scoring and measuring of every method on a task."""
    return [stage["evaluate"] + stage["measure"] for stage in stages.values()]


def _spread(groups: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of logarithms within groups, pooled."""
    variances = [statistics.variance(map(math.log, group)) for group in groups]
    return math.sqrt(statistics.fmean(variances))


def simulate_scheduling(*, runs: int, workers: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Simulate the grid under the policy of the executors, and under others; returns the section of the record."""
    grid = paper_grid(runs)
    usual = replace(CONDITIONS, workers=workers)
    none = [0.0] * runs
    policies = {
        "longest first, learning": (grid.guesses, grid.families),
        "longest first, the plan's estimates alone": (grid.guesses, [(guess,) for guess in grid.guesses]),
        "in the order of the plan": (none, [()] * runs),
        "shortest first": ([-guess for guess in grid.guesses], [(guess,) for guess in grid.guesses]),
    }
    conditions = {
        "no worker is lost": replace(usual, losses_per_hour=0.0),
        "a worker is lost once in 5 hours": replace(usual, losses_per_hour=1 / 5),
        "a quarter of the workers": replace(usual, workers=max(1, workers // 4)),
    }
    section: dict[str, Any] = {
        "runs": runs,
        "workers": workers,
        "seed": seed,
        "grids_drawn": REPEATS,
        "families": len(set(grid.families)),
        "seconds_of_a_run": {
            "least": min(grid.means),
            "mean": statistics.fmean(grid.means),
            "most": max(grid.means),
            "spread": grid.spread,
        },
        "conditions": {
            "start_seconds": list(usual.start),
            "pause_seconds": usual.pause,
            "losses_per_worker_hour": usual.losses_per_hour,
            "restart_seconds": usual.restart,
            "checkpoint_seconds": usual.checkpoint,
        },
        "policies": {},
        "other_conditions": {},
    }
    for name, (expected, families) in policies.items():
        # What is known of a family is learnt where families are runs of one method on one task alone.
        section["policies"][name] = row = _row(grid, expected, families, usual, seed, learning="learning" in name)
        say(f"{name}: idle {100 * row['idle_share']:.2f} %, {row['seconds'] / 60:.1f} min")
    ours = policies["longest first, learning"]
    for name, other in conditions.items():
        section["other_conditions"][name] = row = _row(grid, *ours, other, seed, learning=True)
        say(f"{name}: idle {100 * row['idle_share']:.2f} %, {row['seconds'] / 60:.1f} min")
    return section


def _row(
    grid: PaperGrid,
    expected: Sequence[float],
    families: Sequence[tuple[Any, ...]],
    conditions: Conditions,
    seed: int,
    *,
    learning: bool,
) -> dict[str, Any]:
    found = []
    for repeat in range(REPEATS):
        drawn = grid.drawn(np.random.default_rng([seed, repeat]))
        went = simulate(expected, drawn, conditions, families=families, seed=seed * REPEATS + repeat, learning=learning)
        found.append((went, 1 - busy_share(went.spans, conditions.workers), lower_bound(drawn, conditions.workers)))
    idle = [share for _, share, _ in found]
    return {
        "idle_share": statistics.fmean(idle),
        "idle_share_least": min(idle),
        "idle_share_most": max(idle),
        "idle_share_with_start": statistics.fmean(went.idle_share for went, _, _ in found),
        "seconds": statistics.fmean(went.seconds for went, _, _ in found),
        "seconds_over_lower_bound": statistics.fmean(went.seconds / bound for went, _, bound in found),
        "workers_lost": statistics.fmean(went.losses for went, _, _ in found),
        "runs_given_up": sum(went.given_up for went, _, _ in found),
        "repeated_seconds": statistics.fmean(went.repeated_seconds for went, _, _ in found),
    }
