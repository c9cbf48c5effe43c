"""Sharpness: how much the loss rises when the weights move by a given distance.

    worst case     max L(W + dW) - L(W)  over ||dW||_F <= rho
    average case   E[L(W + dW)] - L(W)   over random directions, ||dW||_F = rho

The radius rho is that of the change of the weight matrices in every space, sqrt(sum_l ||dW_l||_F^2), so numbers
from different spaces compare: a space only restricts where the weights may go. The one-step value follows the gradient
of the space's coordinates (Foret et al., 2021); projected ascent starts from it and keeps the best point it
has seen, so it is never below. Both are lower bounds of the true maximum, which no method can certify.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis import vectors
from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Loss and gradient at the unmoved weights, taken once and used by several measurements.

    Attributes:
        loss: L.
        gradient: dL/dtheta in the coordinates of the space (projected, in the tangent space).
        gradient_norm: Its Euclidean norm.
    """

    loss: float
    gradient: Vector
    gradient_norm: float


@dataclass(frozen=True)
class WorstCase:
    """Largest loss increase found within a radius.

    Attributes:
        increase: Loss at the best point less `loss`; negative if every point visited was lower.
        radius: rho, the largest allowed ||dW||_F.
        displacement: ||dW||_F of the best point.
        loss: L at the unmoved weights.
        gradient_norm: Norm of the gradient there, in the space's coordinates.
        steps: Points visited. They cost steps - 1 gradients and one value, the linearisation apart.
    """

    increase: float
    radius: float
    displacement: float
    loss: float
    gradient_norm: float
    steps: int


@dataclass(frozen=True)
class AverageCase:
    """Mean loss increase at a radius over random directions.

    Attributes:
        increase: Mean over the draws of (L(+d) + L(-d)) / 2 - L; the pair removes the gradient's share, whose
            mean is zero but whose spread would hide the curvature's.
        standard_error: Sample standard deviation of the draws over sqrt(draws).
        radius: ||dW||_F of every point.
        draws: Number of independent directions.
        loss: L at the unmoved weights.
        seed: Seed of the directions.
    """

    increase: float
    standard_error: float
    radius: float
    draws: int
    loss: float
    seed: int


def check_radius(radius: float, *, name: str = "radius") -> None:
    """Refuse a radius that is not a positive number, under the name that the caller knows it by."""
    if not (radius > 0 and math.isfinite(radius)):
        raise SettingsError(f"{name} is {radius}; expected a positive distance ||dW||_F such as 0.05")


def linearise(objective: Objective, space: ParameterSpace) -> Linearisation:
    """Return loss and gradient at the current weights in the coordinates of a space."""
    with space:
        loss, gradient = objective.value_and_gradient(space.tensors)
        gradient = space.project(gradient)
    return Linearisation(loss, gradient, vectors.norm(gradient))


def worst_case(
    objective: Objective,
    space: ParameterSpace,
    *,
    radius: float,
    steps: int = 5,
    at: Linearisation | None = None,
    on_progress: Progress = silent,
) -> WorstCase:
    """Return the largest loss increase that projected gradient ascent finds within `radius`.

    The first point is t g, where g is the gradient and t g has weight-space length `radius`; with steps=1 it is the
    only one. From the best point x so far, with gradient g there, the next candidate is x + c t g, put back on
    the sphere if it left the ball. c starts at 1; it is doubled after a candidate that was better and quartered
    after one that was not. On a quadratic loss this converges to the solution of the trust-region problem.

    Args:
        objective: The token-weighted mean loss.
        space: Where the steps are taken.
        radius: rho = ||dW||_F > 0.
        steps: Points visited, at least 1; all but the last take a gradient.
        at: Loss and gradient at the current weights, if known.
        on_progress: Called after each step.

    Raises:
        SettingsError: The radius or the number of steps is out of range.
        DirectionError: The gradient is zero.
    """
    check_radius(radius)
    if steps < 1:
        raise SettingsError(f"steps is {steps}; expected at least one ascent step")
    with space:
        start = at or linearise(objective, space)
        candidate = vectors.scale(start.gradient, space.scale_to_radius(start.gradient, radius))
        best, best_loss, ascent, rate = candidate, -math.inf, start.gradient, 0.5
        for step in range(1, steps + 1):
            if step > 1:
                reach = rate * space.scale_to_radius(ascent, radius)
                candidate = vectors.axpy(reach, ascent, best)
                if space.displacement_norm(candidate) > radius:
                    candidate = vectors.scale(candidate, space.scale_to_radius(candidate, radius))
            with space.displaced(candidate):
                # The last point's gradient would lead nowhere.
                loss, gradient = _value_and_gradient(objective, space, with_gradient=step < steps)
            if loss > best_loss:
                best, best_loss, ascent, rate = candidate, loss, gradient, 2.0 * rate
            else:
                rate /= 4.0
            on_progress(step / steps, f"ascent step {step} of {steps}, increase {best_loss - start.loss:.4g}")
        return WorstCase(
            increase=best_loss - start.loss,
            radius=radius,
            displacement=space.displacement_norm(best),
            loss=start.loss,
            gradient_norm=start.gradient_norm,
            steps=steps,
        )


def average_case(
    objective: Objective,
    space: ParameterSpace,
    *,
    radius: float,
    draws: int = 8,
    seed: int = 0,
    loss: float | None = None,
    on_progress: Progress = silent,
) -> AverageCase:
    """Return the mean loss increase over random directions of weight-space length `radius`.

    Directions are uniform in the coordinates of the space. On a quadratic loss with Hessian H the expectation in
    the full space is rho^2 tr(H) / (2 n), which at a radius fit for the worst case may be below rounding for
    large n: compare `increase` with `standard_error`, and take a larger radius if need be.

    Args:
        objective: The token-weighted mean loss.
        space: Where the directions lie.
        radius: rho = ||dW||_F > 0.
        draws: Number of directions, at least 2; each takes two values.
        seed: Seed of the directions, which models with the same block names share.
        loss: L at the current weights, if known.
        on_progress: Called after each draw.

    Raises:
        SettingsError: The radius or the number of draws is out of range.
    """
    check_radius(radius)
    if draws < 2:
        raise SettingsError(f"draws is {draws}; expected at least 2, for a standard error")
    with space:
        unmoved = objective.value() if loss is None else loss
        increases = []
        for draw in range(draws):
            direction = space.random_direction(seed=seed, stream=f"average-{draw}")
            pair = []
            for signed in (direction, vectors.scale(direction, -1.0)):
                with space.displaced(signed, space.scale_to_radius(signed, radius)):
                    pair.append(objective.value() - unmoved)
            increases.append(sum(pair) / 2)
            on_progress((draw + 1) / draws, f"random direction {draw + 1} of {draws}")
    mean = sum(increases) / draws
    variance = sum((increase - mean) ** 2 for increase in increases) / (draws - 1)
    return AverageCase(
        increase=mean,
        standard_error=math.sqrt(variance / draws),
        radius=radius,
        draws=draws,
        loss=unmoved,
        seed=seed,
    )


def _value_and_gradient(objective: Objective, space: ParameterSpace, *, with_gradient: bool) -> tuple[float, Vector]:
    """Return the loss here, and the space's gradient unless only the loss is wanted."""
    if not with_gradient:
        return objective.value(), []
    here = linearise(objective, space)
    return here.loss, here.gradient
