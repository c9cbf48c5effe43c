"""One-dimensional slices L(theta + alpha d) of the loss along filter-normalised random directions.

Each row of a Gaussian direction is scaled to the norm of the same row of the weights (Li et al., 2018), so
that alpha is relative: at alpha = 1 a row has moved by its own length. In the full space the rows are those of the
merged matrices; in the lora space those of the balanced factors. Directions depend on the seed and the layers' names
alone, so that models which are compared are cut along the same ones. Alpha being relative to each model's own
weights, the record also says how far the weights moved, which is what radii are measured in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


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


def symmetric_alphas(extent: float, points: int) -> tuple[float, ...]:
    """Return `points` equally spaced positions from -extent to extent, with 0 in the middle.

    Args:
        extent: Largest alpha, relative to the weights' rows.
        points: An odd number, at least 3.

    Raises:
        SettingsError: A value is out of range.
    """
    if points < 3 or points % 2 == 0:
        raise SettingsError(f"{points} slice points; expected an odd number of at least 3, so that 0 is one of them")
    if not extent > 0:
        raise SettingsError(f"slice extent is {extent}; expected a positive multiple of the weights' rows")
    half = points // 2
    return tuple(extent * step / half for step in range(-half, half + 1))


def filter_normalised_direction(space: ParameterSpace, *, seed: int, index: int) -> Vector:
    """Return a Gaussian direction whose rows have the norms of the weights' rows.

    Args:
        space: Gives shapes, names and row norms. In the tangent space the direction is projected after scaling.
        seed: Seed shared by the models that are compared.
        index: Which of the seed's directions.
    """
    with space:
        direction = space.random_direction(seed=seed, stream=f"slice-{index}")
        scaled = []
        for block, wanted in zip(direction, space.row_norms(), strict=True):
            rows = block.reshape(len(wanted), -1)
            own = torch.linalg.vector_norm(rows, dim=1)
            scaled.append((rows * (wanted / own)[:, None]).view(block.shape))
        return space.project(scaled)


def slices(
    objective: Objective,
    space: ParameterSpace,
    *,
    alphas: Sequence[float],
    directions: int = 2,
    seed: int = 0,
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
        loss: L at the current weights, if known.
        on_progress: Called after each point.

    Raises:
        SettingsError: The positions are not ascending and symmetric about 0, or there is no direction.
    """
    middle = len(alphas) // 2
    if len(alphas) < 3 or alphas[middle] != 0.0 or list(alphas) != sorted({-alpha for alpha in alphas}):
        raise SettingsError(f"slice positions {list(alphas)}; expected ascending values symmetric about 0")
    if directions < 1:
        raise SettingsError(f"{directions} slice directions; expected at least 1")
    losses, norms, curvatures = [], [], []
    with space:
        centre = objective.value() if loss is None else loss
        for index in range(directions):
            direction = filter_normalised_direction(space, seed=seed, index=index)
            row, lengths = [], []
            for position, alpha in enumerate(alphas):
                row.append(_loss_at(objective, space, direction, alpha) if alpha != 0.0 else centre)
                lengths.append(space.displacement_norm([alpha * block for block in direction]))
                done = (index * len(alphas) + position + 1) / (directions * len(alphas))
                on_progress(done, f"slice {index + 1} of {directions}, alpha {alpha:.3g}")
            losses.append(tuple(row))
            norms.append(tuple(lengths))
            curvatures.append((row[middle + 1] - 2 * centre + row[middle - 1]) / alphas[middle + 1] ** 2)
    return Slices(tuple(alphas), tuple(losses), tuple(norms), tuple(curvatures), seed)


def _loss_at(objective: Objective, space: ParameterSpace, direction: Vector, alpha: float) -> float:
    """Return L(theta + alpha d)."""
    with space.displaced(direction, alpha):
        return objective.value()
