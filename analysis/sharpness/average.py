"""Average-case sharpness: the mean rise of the loss over random moves of one length.

    E[L(W + dW)] - L(W)   over random directions, ||dW||_T = rho

Draws come in pairs +d, -d, which removes the gradient's share: its mean is zero, but its spread would hide the
curvature's. Drawing ends when the standard error is small against the mean, not at a fixed count, and the record says
whether it did. Norms are those of `analysis.sharpness.norms`.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis import vectors
from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.sharpness.norms import ABSOLUTE, Lengths, WeightNorm, check_radius, lengths
from analysis.spaces import ParameterSpace
from analysis.standard_error import mean_and_error

# With fewer draws two that happen to agree would end the measurement.
_FEWEST = 4


@dataclass(frozen=True)
class AverageCase:
    """Mean loss increase at a radius over random directions.

    Attributes:
        increase: Mean over the draws of (L(+d) + L(-d)) / 2 - L.
        standard_error: Sample standard deviation of the draws over sqrt(draws).
        radius: ||dW|| of every point, in the norm.
        draws: Number of independent directions.
        loss: L at the unmoved weights.
        seed: Seed of the directions.
        norm: absolute, adaptive or filter.
        converged: Whether standard_error <= tolerance |increase|.
        lengths: Length of +d in every norm, mean over the draws.
    """

    increase: float
    standard_error: float
    radius: float
    draws: int
    loss: float
    seed: int
    norm: str
    converged: bool
    lengths: Lengths


def average_case(
    objective: Objective,
    space: ParameterSpace,
    *,
    radius: float,
    norm: WeightNorm = ABSOLUTE,
    tolerance: float = 0.1,
    max_draws: int = 32,
    seed: int = 0,
    loss: float | None = None,
    on_progress: Progress = silent,
) -> AverageCase:
    """Return the mean loss increase over random directions of length `radius`.

    Directions are T z, z uniform in the coordinates of the space. On a quadratic loss with Hessian H the expectation in
    the full space is rho^2 tr(H) / (2 n) for T = 1, which at a radius fit for the worst case may be below rounding for
    large n: compare `increase` with `standard_error`, and take a larger radius if need be.

    Args:
        objective: The token-weighted mean loss.
        space: Where the directions lie.
        radius: rho = ||dW|| > 0 in `norm`.
        norm: How lengths are measured, see `WeightNorm`.
        tolerance: Standard error, relative to the mean, at which drawing ends; not before four draws.
        max_draws: Most directions, at least 2; each takes two values.
        seed: Seed of the directions, which models with the same block names share.
        loss: L at the current weights, if known.
        on_progress: Called after each draw.

    Raises:
        SettingsError: A setting is out of range.
    """
    _check(radius=radius, max_draws=max_draws, tolerance=tolerance)
    increases: list[float] = []
    found: list[Lengths] = []
    with space:
        unmoved = objective.value() if loss is None else loss
        while len(increases) < max_draws:
            value, length = _draw(objective, space, norm, radius, seed=seed, draw=len(increases))
            increases.append(value - unmoved)
            found.append(length)
            mean, error = mean_and_error(increases)
            converged = len(increases) >= _FEWEST and error <= tolerance * abs(mean)
            note = f"random direction {len(increases)} of at most {max_draws}, increase {mean:.3g} ± {error:.1g}"
            on_progress(1.0 if converged else len(increases) / max_draws, note)
            if converged:
                break
    return AverageCase(
        increase=mean,
        standard_error=error,
        radius=radius,
        draws=len(increases),
        loss=unmoved,
        seed=seed,
        norm=norm.name,
        converged=converged,
        lengths=_mean_lengths(found),
    )


def _check(*, radius: float, max_draws: int, tolerance: float) -> None:
    check_radius(radius)
    if max_draws < 2:
        raise SettingsError(f"max_draws is {max_draws}; expected at least 2, for a standard error")
    if not tolerance > 0:
        raise SettingsError(f"tolerance is {tolerance}; expected a positive relative standard error such as 0.1")


def _draw(
    objective: Objective, space: ParameterSpace, norm: WeightNorm, radius: float, *, seed: int, draw: int
) -> tuple[float, Lengths]:
    """Return (L(+d) + L(-d)) / 2 of one direction, both points at the radius, and the lengths of +d."""
    direction = norm.random_direction(space, seed=seed, stream=f"average-{draw}")
    values = []
    for signed in (vectors.scale(direction, -1.0), direction):
        point = vectors.scale(signed, norm.scale_to_radius(space, signed, radius))
        with space.displaced(point):
            values.append(objective.value())
    return sum(values) / 2, lengths(space, point, eta=norm.eta)


def _mean_lengths(found: list[Lengths]) -> Lengths:
    """Return the mean of each length."""
    count = len(found)
    return Lengths(
        absolute=sum(one.absolute for one in found) / count,
        adaptive=sum(one.adaptive for one in found) / count,
        filter=sum(one.filter for one in found) / count,
        coordinates=sum(one.coordinates for one in found) / count,
    )
