"""One-dimensional slices L(theta + alpha d) of the loss, along any direction or along random ones.

alpha being relative to each model's own weights for a filter-normalised direction, a record also says how far the
weights moved, which is what radii are measured in. A slice may keep its losses in a file and go on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from analysis import vectors
from analysis.errors import SettingsError
from analysis.landscape.directions import OneDimensional, filter_normalised_direction
from analysis.landscape.evaluation import fill
from analysis.landscape.grid_file import open_grid
from analysis.objective import Objective
from analysis.progress import Progress, silent, within
from analysis.spaces import ParameterSpace


@dataclass(frozen=True)
class Line:
    """Losses along one direction.

    Attributes:
        alphas: Positions, ascending, 0 among them.
        losses: L(theta + alpha d).
        weight_norms: ||dW||_F at each position.
        curvature: Second difference over the two points next to 0, loss per alpha^2.
    """

    alphas: tuple[float, ...]
    losses: tuple[float, ...]
    weight_norms: tuple[float, ...]
    curvature: float


@dataclass(frozen=True)
class Slices:
    """Losses along several directions.

    Attributes:
        alphas: Positions along every direction, ascending, 0 among them.
        losses: L(theta + alpha d), one row per direction, one entry per alpha.
        weight_norms: ||dW||_F at each of these points.
        curvatures: Second difference of each row over the two points next to 0, loss per alpha^2.
        seed: Seed of the directions.
    """

    alphas: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    weight_norms: tuple[tuple[float, ...], ...]
    curvatures: tuple[float, ...]
    seed: int


def line(
    objective: Objective,
    space: ParameterSpace,
    direction: Sequence[Tensor],
    *,
    alphas: Sequence[float],
    loss: float | None = None,
    store: Path | None = None,
    on_progress: Progress = silent,
) -> Line:
    """Return the losses along one direction.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates that are moved.
        direction: A vector of the space, in the unit that alpha counts: see `analysis.landscape.directions`.
        alphas: Positions, ascending and symmetric about 0.
        loss: L at the current weights, if known.
        store: A JSON file that is written after every point and read at the start, so that a stopped slice goes on.
        on_progress: Called after each point.

    Raises:
        SettingsError: The positions are not symmetric, or the file belongs to another slice.
    """
    middle = len(alphas) // 2
    _check_symmetric(alphas)
    with space:
        centre = objective.value() if loss is None else loss
        grid = open_grid(store, space, loss=centre, alphas=(0.0,), betas=alphas, directions=[direction])
        fill(
            grid,
            objective,
            space,
            lambda _, alpha: vectors.scale(direction, alpha),
            alphas=(0.0,),
            betas=alphas,
            centre=centre,
            on_progress=on_progress,
        )
        norms = tuple(space.displacement_norm(vectors.scale(direction, alpha)) for alpha in alphas)
    (losses,) = grid.complete()
    curvature = (losses[middle + 1] - 2 * losses[middle] + losses[middle - 1]) / alphas[middle + 1] ** 2
    return Line(tuple(alphas), losses, norms, curvature)


def slices(
    objective: Objective,
    space: ParameterSpace,
    *,
    alphas: Sequence[float],
    directions: int = 2,
    seed: int = 0,
    one_dimensional: OneDimensional = "row",
    loss: float | None = None,
    on_progress: Progress = silent,
) -> Slices:
    """Return the losses along filter-normalised random directions.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates that are moved.
        alphas: Positions, see `symmetric_alphas`.
        directions: How many directions.
        seed: Seed of the directions.
        one_dimensional: What becomes of norm weights and biases, see `filter_normalise`.
        loss: L at the current weights, if known.
        on_progress: Called after each point.

    Raises:
        SettingsError: The positions are not ascending and symmetric about 0, or there is no direction.
    """
    if directions < 1:
        raise SettingsError(f"{directions} slice directions; expected at least 1")
    _check_symmetric(alphas)
    lines = []
    with space:
        centre = objective.value() if loss is None else loss
        for index in range(directions):
            direction = filter_normalised_direction(space, seed=seed, index=index, one_dimensional=one_dimensional)
            report = within(
                on_progress, index / directions, (index + 1) / directions, label=f"slice {index + 1} of {directions}"
            )
            lines.append(line(objective, space, direction, alphas=alphas, loss=centre, on_progress=report))
    return Slices(
        alphas=tuple(alphas),
        losses=tuple(found.losses for found in lines),
        weight_norms=tuple(found.weight_norms for found in lines),
        curvatures=tuple(found.curvature for found in lines),
        seed=seed,
    )


def _check_symmetric(alphas: Sequence[float]) -> None:
    if len(alphas) < 3 or alphas[len(alphas) // 2] != 0.0 or list(alphas) != sorted({-alpha for alpha in alphas}):
        raise SettingsError(f"slice positions {list(alphas)}; expected ascending values symmetric about 0")
