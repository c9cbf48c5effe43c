"""Two-dimensional slices L(theta + alpha d + beta e) of the loss, and what the plane says about convexity.

The plane is evaluated point by point, since that is as fast as it gets: stacking the moved weights and mapping over
them (`torch.func.vmap`) took 1.7 times as long for a 2.6-million-parameter Llama on a CPU, and a larger model fills
the device with one point. Losses are kept in a file, so that a stopped plane goes on. Curvature comes from differences
of the losses themselves; the share of points with a convex neighbourhood is a number for what such plots are looked at
for (Li et al., 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis import vectors
from analysis.errors import DirectionError
from analysis.landscape.evaluation import fill
from analysis.landscape.grid_file import open_grid
from analysis.landscape.positions import check_evenly_spaced
from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.spaces import ParameterSpace


@dataclass(frozen=True)
class Plane:
    """Losses over a grid in the plane of two directions.

    Attributes:
        alphas: Positions along the first direction.
        betas: Positions along the second.
        losses: losses[i][j] = L(theta + alphas[i] d + betas[j] e).
        weight_norms: ||dW||_F at each of these points.
        cosine: Of the two directions, in the coordinates of the space.
        centre_curvature: (d2L/dalpha2, d2L/dalpha dbeta, d2L/dbeta2) at 0 by second differences; None if 0 is not
            inside the grid.
        convex_share: Share of the inner points at which the second differences make a matrix without negative
            eigenvalues.
        evaluated: Points that this call evaluated; the others came from the file.
    """

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    weight_norms: tuple[tuple[float, ...], ...]
    cosine: float
    centre_curvature: tuple[float, float, float] | None
    convex_share: float
    evaluated: int


def plane(
    objective: Objective,
    space: ParameterSpace,
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    *,
    alphas: Sequence[float],
    betas: Sequence[float] | None = None,
    loss: float | None = None,
    store: Path | None = None,
    on_progress: Progress = silent,
) -> Plane:
    """Return the losses over the plane of two directions.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates that are moved.
        first: A vector of the space, in the unit that alpha counts.
        second: Another vector of the space, not parallel to it.
        alphas: Positions along the first, ascending and equally spaced.
        betas: Positions along the second; None takes alphas.
        loss: L at the current weights, if known.
        store: A JSON file that is written after every point and read at the start, so that a stopped plane goes on.
        on_progress: Called after each point.

    Raises:
        SettingsError: The positions are not equally spaced, or the file belongs to another plane.
        DirectionError: A direction is zero, or the two are parallel.
    """
    betas = alphas if betas is None else betas
    check_evenly_spaced(alphas, name="alphas")
    check_evenly_spaced(betas, name="betas")
    cosine = _cosine(first, second)

    def move(alpha: float, beta: float) -> vectors.Vector:
        return vectors.axpy(beta, second, vectors.scale(first, alpha))

    with space:
        centre = objective.value() if loss is None else loss
        grid = open_grid(store, space, loss=centre, alphas=alphas, betas=betas, directions=[first, second])
        evaluated = fill(
            grid, objective, space, move, alphas=alphas, betas=betas, centre=centre, on_progress=on_progress
        )
        norms = tuple(tuple(space.displacement_norm(move(alpha, beta)) for beta in betas) for alpha in alphas)
    losses = grid.complete()
    curvatures = second_differences(np.asarray(losses), alphas[1] - alphas[0], betas[1] - betas[0])
    return Plane(
        alphas=tuple(alphas),
        betas=tuple(betas),
        losses=losses,
        weight_norms=norms,
        cosine=cosine,
        centre_curvature=_at_centre(curvatures, alphas, betas),
        convex_share=float((np.linalg.eigvalsh(curvatures)[..., 0] >= 0.0).mean()),
        evaluated=evaluated,
    )


def second_differences(losses: NDArray[np.float64], alpha_step: float, beta_step: float) -> NDArray[np.float64]:
    """Return the matrices (a-2, b-2, 2, 2) of second differences at the inner points of a grid (a, b)."""
    centre = losses[1:-1, 1:-1]
    aa = (losses[2:, 1:-1] - 2 * centre + losses[:-2, 1:-1]) / alpha_step**2
    bb = (losses[1:-1, 2:] - 2 * centre + losses[1:-1, :-2]) / beta_step**2
    ab = (losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]) / (4 * alpha_step * beta_step)
    return np.stack([np.stack([aa, ab], axis=-1), np.stack([ab, bb], axis=-1)], axis=-2)


def _cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the cosine of two directions that span a plane."""
    lengths = vectors.norm(first) * vectors.norm(second)
    if lengths == 0.0:
        raise DirectionError("one of the two directions is zero; a plane needs two")
    cosine = vectors.dot(first, second) / lengths
    if abs(cosine) > 1.0 - 1e-6:
        raise DirectionError(f"the two directions are parallel (cosine {cosine:.6f}); a plane needs two")
    return cosine


def _at_centre(
    curvatures: NDArray[np.float64], alphas: Sequence[float], betas: Sequence[float]
) -> tuple[float, float, float] | None:
    """Return the second differences at alpha = beta = 0, if that is an inner point of the grid."""
    rows = [i for i, alpha in enumerate(alphas[1:-1]) if abs(alpha) < 1e-9 * abs(alphas[-1] - alphas[0])]
    columns = [j for j, beta in enumerate(betas[1:-1]) if abs(beta) < 1e-9 * abs(betas[-1] - betas[0])]
    if not rows or not columns:
        return None
    (aa, ab), (_, bb) = curvatures[rows[0], columns[0]].tolist()
    return aa, ab, bb
