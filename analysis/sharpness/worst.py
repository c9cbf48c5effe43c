"""Worst-case sharpness: the largest rise of the loss within a radius.

    max L(W + dW) - L(W)  over ||dW||_T <= rho

in one of the norms of `analysis.sharpness.norms`. The one-step value follows the gradient (Foret et al., 2021);
projected ascent starts from it, may start again at random points of the sphere (Andriushchenko et al., 2023) and keeps
the best point it has seen, so it is never below. It ends when it has stopped rising, not at a fixed count, and says
whether it did. Both are lower bounds of the true maximum, which no method can certify.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.progress import Progress, silent, within
from analysis.sharpness.ascent import Ascent
from analysis.sharpness.linearisation import Linearisation, linearise
from analysis.sharpness.norms import ABSOLUTE, Lengths, WeightNorm, check_radius, lengths
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


@dataclass(frozen=True)
class WorstCase:
    """Largest loss increase found within a radius.

    Attributes:
        increase: Loss at the best point less `loss`; negative if every point visited was lower.
        radius: rho, the largest allowed ||dW|| in the norm.
        displacement: Length of the best point in that norm.
        loss: L at the unmoved weights.
        gradient_norm: Norm of the gradient there, in the space's coordinates.
        steps: Points visited, over all starts.
        norm: absolute, adaptive or filter.
        converged: Whether the ascent that found the best point had stopped rising. One step never has.
        starts: Increase that each start reached, the gradient's first.
        lengths: The best point's length in every norm.
    """

    increase: float
    radius: float
    displacement: float
    loss: float
    gradient_norm: float
    steps: int
    norm: str
    converged: bool
    starts: tuple[float, ...]
    lengths: Lengths


def worst_case(
    objective: Objective,
    space: ParameterSpace,
    *,
    radius: float,
    norm: WeightNorm = ABSOLUTE,
    max_steps: int = 50,
    tolerance: float = 1e-2,
    restarts: int = 0,
    seed: int = 0,
    at: Linearisation | None = None,
    on_progress: Progress = silent,
) -> WorstCase:
    """Return the largest loss increase that projected gradient ascent finds within `radius`.

    The first point is t d, where d is the gradient step of the norm and t d has length `radius`; with max_steps=1 it is
    the only one. From the best point x so far, with gradient step d there, the next candidate is x + c t d, put back on
    the sphere if it left the ball. c starts at 1; it is doubled after a candidate that was better and quartered
    after one that was not. On a quadratic loss this converges to the solution of the trust-region problem.

    Args:
        objective: The token-weighted mean loss.
        space: Where the steps are taken.
        radius: rho = ||dW|| > 0 in `norm`.
        norm: How lengths are measured, see `WeightNorm`.
        max_steps: Most points visited from each start, at least 1; all but the last take a gradient.
        tolerance: An ascent has stopped rising when two accepted steps together raised the increase by at most this
            share of it.
        restarts: Further ascents, from random points at the radius.
        seed: Seed of those points.
        at: Loss and gradient at the current weights, if known.
        on_progress: Called after each step.

    Raises:
        SettingsError: A setting is out of range.
        DirectionError: The gradient is zero.
    """
    return worst_case_point(
        objective,
        space,
        radius=radius,
        norm=norm,
        max_steps=max_steps,
        tolerance=tolerance,
        restarts=restarts,
        seed=seed,
        at=at,
        on_progress=on_progress,
    )[0]


def worst_case_point(
    objective: Objective,
    space: ParameterSpace,
    *,
    radius: float,
    norm: WeightNorm = ABSOLUTE,
    max_steps: int = 50,
    tolerance: float = 1e-2,
    restarts: int = 0,
    seed: int = 0,
    starts: Sequence[Sequence[Tensor]] = (),
    at: Linearisation | None = None,
    on_progress: Progress = silent,
) -> tuple[WorstCase, Vector]:
    """Return what `worst_case` returns, and the best point as a vector of the space.

    Args:
        objective: The token-weighted mean loss.
        space: Where the steps are taken.
        radius: rho = ||dW|| > 0 in `norm`.
        norm: How lengths are measured, see `WeightNorm`.
        max_steps: Most points visited from each start, see `worst_case`.
        tolerance: When an ascent has stopped rising, see `worst_case`.
        restarts: Further ascents, from random points at the radius.
        seed: Seed of those points.
        starts: Vectors of the space; further ascents begin at their multiples of length `radius`, so that the best
            point known from elsewhere is never lost.
        at: Loss and gradient at the current weights, if known.
        on_progress: Called after each step.

    Raises:
        SettingsError: A setting is out of range.
        DirectionError: The gradient, or a start, is zero.
    """
    check_radius(radius)
    _check(max_steps=max_steps, tolerance=tolerance, restarts=restarts)
    with space:
        start = at or linearise(objective, space)
        directions = [norm.ascent_direction(space, start.gradient), *starts]
        count = len(directions) + restarts
        runs: list[Ascent] = []
        for index in range(count):
            if index < len(directions):
                direction = directions[index]
            else:
                direction = norm.random_direction(space, seed=seed, stream=f"ascent-{index - len(directions)}")
            run = Ascent(objective, space, norm, radius, loss=start.loss, tolerance=tolerance)
            report = within(on_progress, index / count, (index + 1) / count, label=f"start {index + 1} of {count}")
            run.climb(direction, max_steps=max_steps, on_progress=report)
            runs.append(run)
        best = max(runs, key=lambda run: run.increase)
        found = lengths(space, best.point, eta=norm.eta)
        record = WorstCase(
            increase=best.increase,
            radius=radius,
            displacement=norm.length(space, best.point),
            loss=start.loss,
            gradient_norm=start.gradient_norm,
            steps=sum(run.steps for run in runs),
            norm=norm.name,
            converged=best.converged,
            starts=tuple(run.increase for run in runs),
            lengths=found,
        )
        return record, best.point


def _check(*, max_steps: int, tolerance: float, restarts: int) -> None:
    if max_steps < 1:
        raise SettingsError(f"max_steps is {max_steps}; expected at least one ascent step")
    if restarts < 0:
        raise SettingsError(f"restarts is {restarts}; expected 0 or more further starts")
    if not (tolerance > 0 and math.isfinite(tolerance)):
        raise SettingsError(f"tolerance is {tolerance}; expected a positive share of the increase such as 1e-2")
