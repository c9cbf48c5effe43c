"""What `--landscape` adds to the measurement of a run, in every space: robustness, density, a plane of the loss.

Robustness is the paper's Table A6 (Liu et al., arXiv 2508.19564): loss and score at theta + alpha g / ||g||, g the
gradient of the loss that sharpness is measured on. Planes lie along the two filter-normalised directions that the first
two slices follow, so that all methods of a seed share them. None is part of the default measurement, whose runs keep
their keys; one that cannot be taken leaves its reason and does not cost the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from torch import nn

from analysis import (
    FlatnessSettings,
    HessianOperator,
    Objective,
    filter_normalised_direction,
    parameter_space,
    plane,
    robustness_curve,
    spectral_density,
    symmetric_alphas,
)
from analysis.progress import Progress, silent, within
from analysis.spaces import ParameterSpace
from benchmarks.errors import one_line

#: Names that `--landscape` takes -> the name in a space's record, which is that of `analysis.measure`.
KINDS = {"robustness": "robustness", "density": "density", "surface": "plane"}
_PROBES, _STEPS, _GRID = 3, 32, 256
#: Positions along either direction of a plane.
_POINTS = 13
#: Parts of a density that no figure needs and that would make most of a measurement's bytes.
_BULKY = ("nodes", "weights", "cumulative")


def measure_landscapes(
    objective: Objective,
    model: nn.Module,
    settings: FlatnessSettings,
    *,
    kinds: Collection[str],
    score: Callable[[nn.Module], float] | None = None,
    examples: int = 0,
    on_progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """Return, for every space of the settings, what is asked for under its name in `KINDS`.

    Args:
        objective: The loss that sharpness is measured on.
        model: Holds the weights, which are left as they were.
        settings: Spaces, seed, extent of the slices and memory for graphs.
        kinds: Names of `KINDS`.
        score: Score of the task in [0, 1], which robustness follows beside the loss; None for the loss alone.
        examples: How many examples it is taken on.
        on_progress: Called with the fraction done and a note.
    """
    found: dict[str, dict[str, Any]] = {}
    steps = [(name, kind) for name in settings.spaces for kind in KINDS if kind in kinds]
    for index, (name, kind) in enumerate(steps):
        space = parameter_space(model, name)
        report = within(on_progress, index / len(steps), (index + 1) / len(steps), label=f"{name} {kind}")
        try:
            if kind == "robustness":
                taken = asdict(robustness_curve(objective, space, metric=score, on_progress=report))
                taken |= {"examples": examples} if score else {}
            else:
                taken = (_density if kind == "density" else _plane)(objective, space, settings, report)
        except Exception as error:  # of the analysis, of the model, or of what scores: the flatness is measured already
            taken = {"problem": one_line(error)}
        found.setdefault(name, {})[KINDS[kind]] = taken
    return found


def _density(
    objective: Objective, space: ParameterSpace, settings: FlatnessSettings, report: Progress
) -> dict[str, Any]:
    with space:
        operator = HessianOperator(objective, space, graph_budget_bytes=settings.graph_budget_bytes)
        found = spectral_density(
            operator, draws=_PROBES, steps=_STEPS, points=_GRID, seed=settings.seed, on_progress=report
        )
    return {name: value for name, value in asdict(found).items() if name not in _BULKY}


def _plane(objective: Objective, space: ParameterSpace, settings: FlatnessSettings, report: Progress) -> dict[str, Any]:
    first, second = (filter_normalised_direction(space, seed=settings.seed, index=index) for index in (0, 1))
    alphas = symmetric_alphas(settings.slice_extent, _POINTS)
    return asdict(plane(objective, space, first, second, alphas=alphas, on_progress=report))
