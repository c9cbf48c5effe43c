"""Spectral densities of the Hessian by space, methods laid over one another, on a logarithmic axis.

One line a run. The axis ends a decade below the height at which a single eigenvalue would stand, 1 / (n width sqrt(2
pi)) for n coordinates and the smoothing kernel's width: what lies lower is the kernel's tail, not curvature.
"""

from __future__ import annotations

import math

from reports.figures.canvas import Drawing, add_legend, blank, marks
from reports.landscapes import Density
from reports.quantities import significant
from reports.sharpness import collected_by_space, measured_by_method
from reports.store import Store
from reports.style import method_label, space_label, space_phrase


def draw_densities(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the spectral densities of a task; None if no run has any."""
    found = collected_by_space(store, task, _collect)
    if not found:
        return None
    figure, (panels,) = blank(1, len(found), height=3.0)
    facts = []
    for axes, (space, methods) in zip(panels, found.items(), strict=True):
        for method, densities in methods.items():
            for density in densities:
                axes.plot(density.grid, density.density, **{**marks(method), "marker": "", "linewidth": 1.2})
            ends = min(d.grid[0] for d in densities), max(d.grid[-1] for d in densities)
            facts.append(
                f"{method_label(method)} from {significant(ends[0])} to {significant(ends[1])} in {space_phrase(space)}"
            )
        every = [density for densities in methods.values() for density in densities]
        axes.set_yscale("log")
        floors = [floor for density in every if (floor := _single(density)) is not None]
        if floors:
            axes.set_ylim(0.1 * min(floors), 3.0 * max(max(density.density) for density in every))
        axes.set_title(space_label(space))
        axes.set_xlabel("eigenvalue of the Hessian")
        axes.set_ylabel("density (1 / eigenvalue)")
        axes.locator_params(axis="x", nbins=6)
    add_legend(figure, tuple(dict.fromkeys(method for methods in found.values() for method in methods)))
    return Drawing(
        name=name,
        title="Spectral density by method",
        caption="Density of the Hessian's eigenvalues by stochastic Lanczos quadrature, smoothed; one line a run. The "
        "axis ends at a tenth of the height of a single eigenvalue: what is lower is the tail of the smoothing.",
        alt=f"Line charts of spectral density on a logarithmic axis. Grids: {'; '.join(facts)}.",
        figure=figure,
    )


def _collect(store: Store, task: str, space: str) -> dict[str, list[Density]]:
    return measured_by_method(store, task, space, lambda measured: measured.density)


def _single(density: Density) -> float | None:
    """Return the height of one eigenvalue's share of the density."""
    if not density.width or not density.dimension:
        return None
    return 1.0 / (density.dimension * density.width * math.sqrt(2.0 * math.pi))
