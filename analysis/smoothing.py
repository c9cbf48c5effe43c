"""Point measures turned into densities on a grid by a Gaussian kernel, with their error over the measures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from analysis.errors import SettingsError
from analysis.krylov import Floats

# Widths of the kernel that the grid extends beyond the outermost nodes; 3e-7 of a node's mass lies further out.
_MARGIN = 5.0


class SmoothedMeasures:
    """Discrete probability measures, smoothed on a common grid.

    Args:
        measures: Nodes and weights of each; weights sum to 1.
        width: Standard deviation of the kernel; None for (largest node - smallest node) / steps.
        steps: How many parts of the range a measure can tell apart.
        points: Size of the grid.

    Attributes:
        width: The kernel's standard deviation.
        grid: Positions t, (points,), from 5 widths below the smallest node to 5 above the largest.
        density: Mean over the measures of sum_j w_j N(t; node_j, width^2).
        density_error: Its standard error; 0 for a single measure.
        cumulative: Integral of `density` up to t.
        cumulative_error: Largest standard error of `cumulative` over the grid; 0 for a single measure.

    Raises:
        SettingsError: The kernel is narrower than the grid's spacing.
    """

    def __init__(
        self, measures: Sequence[tuple[Floats, Floats]], *, width: float | None, steps: int, points: int
    ) -> None:
        low = min(float(nodes.min()) for nodes, _ in measures)
        high = max(float(nodes.max()) for nodes, _ in measures)
        largest = max(abs(low), abs(high))
        # All nodes may be equal but for rounding (a multiple of the identity), and even zero.
        extent = high - low if high - low > 1e-6 * largest else largest or 1.0
        self.width = width or extent / steps
        self.grid = np.linspace(low - _MARGIN * self.width, high + _MARGIN * self.width, points)
        spacing = float(self.grid[1] - self.grid[0])
        if self.width < spacing:
            raise SettingsError(
                f"width is {self.width:.3g}, below the grid's spacing of {spacing:.3g}; widen it, or raise points "
                f"(now {points})"
            )
        densities, cumulatives = zip(
            *(smooth(nodes, weights, grid=self.grid, width=self.width) for nodes, weights in measures), strict=True
        )
        self.density, self.density_error = _mean_and_error(densities)
        self.cumulative, errors = _mean_and_error(cumulatives)
        self.cumulative_error = float(errors.max())


def smooth(nodes: Floats, weights: Floats, *, grid: Floats, width: float) -> tuple[Floats, Floats]:
    """Return density and cumulative of sum_j weights_j N(t; nodes_j, width^2) on a grid."""
    distance = (grid[:, None] - nodes) / width
    kernel = np.exp(-0.5 * distance**2) / (width * math.sqrt(2.0 * math.pi))
    step: Floats = torch.special.ndtr(torch.from_numpy(distance)).numpy()
    return kernel @ weights, step @ weights


def _mean_and_error(samples: Sequence[Floats]) -> tuple[Floats, Floats]:
    mean: Floats = np.mean(samples, axis=0)
    if len(samples) == 1:
        return mean, np.zeros_like(mean)
    return mean, np.std(samples, axis=0, ddof=1) / math.sqrt(len(samples))
