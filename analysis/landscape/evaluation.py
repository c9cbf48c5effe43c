"""Filling a grid of losses, point by point, with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from analysis.landscape.grid_file import GridFile
from analysis.objective import Objective
from analysis.progress import Progress, time_left
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


def fill(
    grid: GridFile,
    objective: Objective,
    space: ParameterSpace,
    move: Callable[[float, float], Vector],
    *,
    alphas: Sequence[float],
    betas: Sequence[float],
    centre: float,
    on_progress: Progress,
) -> int:
    """Evaluate the points of a grid that have no value yet, and return how many those were.

    Args:
        grid: Receives the losses.
        objective: The token-weighted mean loss.
        space: The coordinates that are moved, entered.
        move: The vector of the space at (alpha, beta).
        alphas: Positions of the rows.
        betas: Positions of the columns.
        centre: L where both positions are 0.
        on_progress: Called after each point.
    """
    pending, total, started = grid.missing, len(alphas) * len(betas), time.perf_counter()
    for done, (row, column) in enumerate(pending, start=1):
        alpha, beta = alphas[row], betas[column]
        if alpha == beta == 0.0:
            grid.put(row, column, centre)
        else:
            with space.displaced(move(alpha, beta)):
                grid.put(row, column, objective.value())
        left = time_left(time.perf_counter() - started, done, len(pending))
        on_progress(1.0 - (len(pending) - done) / total, f"point {total - len(pending) + done} of {total}, {left}")
    return len(pending)
