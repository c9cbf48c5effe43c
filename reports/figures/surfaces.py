"""The loss over a plane of two filter-normalised directions, one map a method (Li et al., NeurIPS 2018).

All methods are cut along the same two directions and share their levels and colours within a space, so that maps
compare. Drawn is the increase over the centre, in the run of the smallest seed that all methods with a plane share.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reports.figures.canvas import INK, Drawing, blank
from reports.landscapes import Plane
from reports.quantities import significant
from reports.sharpness import collected_by_space
from reports.store import Store
from reports.style import method_label, space_phrase

#: Levels of a map.
_LEVELS = 12
#: Share of the points of all maps below the last level; the rest would flatten everything inside.
_SHOWN = 0.9


def draw_surfaces(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the planes of a task, a row a space and a column a method; None if no seed has a plane of every method."""
    found = collected_by_space(store, task, _collect)
    if not found:
        return None
    methods = tuple(dict.fromkeys(method for planes in found.values() for method in planes))
    figure, grid = blank(len(found), len(methods), height=0.4 + len(found) * min(2.4, 0.7 + 6.2 / len(methods)))
    facts, seeds = [], set()
    for row, (space, planes) in zip(grid, found.items(), strict=True):
        rises = {method: _rise(plane) for method, (_, plane) in planes.items()}
        levels = _levels(list(rises.values()))
        drawn = None
        for axes, method in zip(row, methods, strict=True):
            axes.set_title(method_label(method) if row is grid[0] else "")
            axes.grid(visible=False)
            if method not in planes:
                axes.set_axis_off()
                continue
            seed, plane = planes[method]
            seeds.add(seed)
            drawn = _map(axes, plane, rises[method], levels)
            top = float(np.nanmax(rises[method])) if np.isfinite(rises[method]).any() else math.nan
            facts.append(f"{method_label(method)} rises by at most {significant(top)} in {space_phrase(space)}")
        row[0].set_ylabel(f"{space_phrase(space).removeprefix('the ')}, β")
        if drawn is not None:
            bar = figure.colorbar(drawn, ax=row, label="loss increase", pad=0.01)
            bar.outline.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("α")
    return Drawing(
        name=name,
        title="Surfaces of the loss",
        caption="Loss increase L(α, β) − L(0, 0) on training examples over the plane of two filter-normalised random "
        f"directions, the same for all methods, with shared levels in a space (seed {', '.join(map(str, seeds))}). "
        "Points above the last level have its colour.",
        alt=f"Contour maps of the loss increase. {'; '.join(facts)}.",
        figure=figure,
    )


def _collect(store: Store, task: str, space: str) -> dict[str, tuple[int, Plane]]:
    """Return the plane of every method that has any, all of the smallest seed that they share."""
    having: dict[str, dict[int, Plane]] = {}
    for method in store.methods_of(task):
        planes = {
            run.seed: measured.plane
            for run in store.runs_of(task, method)
            if (measured := run.space(space)) is not None
            and measured.plane is not None
            # Without a loss at the centre there is no rise over it.
            and np.isfinite(_rise(measured.plane)).any()
        }
        if planes:
            having[method] = planes
    shared = set.intersection(*(set(planes) for planes in having.values())) if having else set()
    return {method: (min(shared), planes[min(shared)]) for method, planes in having.items()} if shared else {}


def _rise(plane: Plane) -> NDArray[np.float64]:
    losses = np.array(plane.losses)
    centre = np.abs(np.array(plane.alphas)).argmin(), np.abs(np.array(plane.betas)).argmin()
    rise: NDArray[np.float64] = losses - losses[centre]
    return rise


def _levels(rises: list[NDArray[np.float64]]) -> list[float]:
    values = np.concatenate([rise[np.isfinite(rise)] for rise in rises])
    low, high = float(values.min()), float(np.quantile(values, _SHOWN))
    levels = MaxNLocator(_LEVELS).tick_values(low, high if high > low else low + 1.0)
    return [float(level) for level in levels]


def _map(axes: Axes, plane: Plane, rise: NDArray[np.float64], levels: list[float]) -> QuadContourSet:
    # losses[i][j] lies at (alphas[i], betas[j]), while rows of a map are the vertical axis.
    filled = axes.contourf(plane.alphas, plane.betas, rise.T, levels=levels, cmap="viridis_r", extend="both")
    axes.contour(plane.alphas, plane.betas, rise.T, levels=levels, colors=INK, linewidths=0.4)
    axes.plot(0, 0, marker="+", color=INK, markersize=6, linestyle="")
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    return filled
