"""Worst-case and average-case sharpness by space, at the radii that the runs share.

One panel for each space and estimate, since their sizes differ by orders of magnitude; each scale starts at zero
unless a value lies below. Bars are standard errors: over seeds, or over an average case's random draws where that
is the larger one. Worst-case values of one run have no sampling error.
"""

from __future__ import annotations

from matplotlib.axes import Axes

from reports.figures.canvas import Drawing, blank, marks
from reports.quantities import setting, significant
from reports.sharpness import SharpnessRow, equal_radii
from reports.style import method_label, space_phrase

_PANELS = (
    ("worst_case_one_step", "worst case, one step"),
    ("worst_case", "worst case, ascent"),
    ("average_case", "average case"),
)


def draw_increases(rows: tuple[SharpnessRow, ...], name: str) -> Drawing | None:
    """Draw loss increases by space and method; None if none were measured."""
    spaces = [s for s in dict.fromkeys(row.space for row in rows) if any(_measured(row, s) for row in rows)]
    if not spaces:
        return None
    # A method without a measurement has a hole in the table; here it would be an empty line in every panel.
    rows = tuple(row for row in rows if any(_measured(row, space) for space in spaces))
    methods = tuple(dict.fromkeys(row.method for row in rows))
    figure, grid = blank(len(spaces), 3, height=len(spaces) * (0.85 + 0.24 * len(methods)))
    facts, radii = [], []
    for axes_row, space in zip(grid, spaces, strict=True):
        here = [row for row in rows if row.space == space]
        for column, (axes, (estimate, words)) in enumerate(zip(axes_row, _PANELS, strict=True)):
            _panel(axes, here, methods, estimate)
            axes.set_title(words if axes_row is grid[0] else "")
            axes.set_ylabel(space_phrase(space).removeprefix("the ") if column == 0 else "")
            axes.set_xlabel("loss increase" if axes_row is grid[-1] else "")
            axes.set_yticks(range(len(methods)), [method_label(m) for m in methods] if column == 0 else [])
            axes.set_ylim(len(methods) - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
        radii.append(f"{_radii(here)} in {space_phrase(space)}")
        facts += [f"{method_label(row.method)} {_worst(row)} in {space_phrase(space)}" for row in here if _worst(row)]
    return Drawing(
        name=name,
        title="Sharpness by space",
        caption="Increase of the training loss at radius ρ (" + "; ".join(radii) + "): after one normalised gradient "
        "step, at the end of projected ascent, and on average over random displacements (bars: standard error).",
        alt=f"Dot plots of loss increase. Worst case by ascent: {'; '.join(facts) or 'not recorded'}.",
        figure=figure,
    )


def _radii(rows: list[SharpnessRow]) -> str:
    worst, average = (f"ρ = {setting(radius)}" if radius else "unequal ρ" for radius in equal_radii(rows))
    return worst if worst == average else f"{worst} in the worst case and {average} on average"


def _measured(row: SharpnessRow, space: str) -> bool:
    return row.space == space and any(estimate in row.values for estimate, _ in _PANELS)


def _worst(row: SharpnessRow) -> str:
    return significant(row.values["worst_case"].mean) if "worst_case" in row.values else ""


def _panel(axes: Axes, rows: list[SharpnessRow], methods: tuple[str, ...], estimate: str) -> None:
    ends = [0.0]
    for row in rows:
        place = methods.index(row.method)
        found = row.values.get(estimate)
        if found is None:
            continue
        # Seeds may share their random draws, and then agree better than they are known.
        error = max(found.standard_error or 0.0, row.errors.get(estimate, 0.0))
        look = marks(row.method)
        axes.hlines(place, 0.0, found.mean, color=look["color"], linewidth=1.2, alpha=0.55)
        axes.errorbar(found.mean, place, xerr=error, capsize=2, elinewidth=1.2, linestyle="", **look)
        ends += [found.mean + error, found.mean - error]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - room if low < 0 else 0.0, high + room)
    axes.locator_params(axis="x", nbins=3)
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
