"""Both ends of the Hessian spectrum, space by space, with the residual of every eigenvalue as its error bar.

An eigenvalue of the Hessian lies within the residual of the value drawn. Scales differ between spaces on purpose:
curvature in the coordinates (A, B) and curvature in the weights W have different units.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from reports.figures.canvas import MUTED, Drawing, add_legend, blank, marks
from reports.measurements import Eigenvalue
from reports.quantities import significant
from reports.sharpness import SharpnessRow, measured_spaces
from reports.store import Store
from reports.style import method_label, space_label, space_phrase


def draw_spectrum(store: Store, task: str, rows: Sequence[SharpnessRow], name: str) -> Drawing | None:
    """Draw the eigenvalues of a task by space; None if none were stored."""
    spaces = [space for space in measured_spaces(store, task) if _any_eigenvalue(store, task, space)]
    if not spaces:
        return None
    figure, grid = blank(2, len(spaces), height=4.2)
    shown: dict[str, None] = {}
    for column, space in enumerate(spaces):
        methods = [m for m in store.methods_of(task) if any(run.space(space) for run in store.runs_of(task, m))]
        for place, method in enumerate(methods):
            # Twenty methods still stay between their rank and the next.
            shift = min(0.14, 0.84 / len(methods)) * (place - (len(methods) - 1) / 2)
            for run in store.runs_of(task, method):
                measured = run.space(space)
                if measured is None:
                    continue
                top = sorted(measured.top, key=lambda pair: -pair.value)
                bottom = sorted(measured.bottom, key=lambda pair: pair.value)
                _points(grid[0][column], method, top, shift)
                _points(grid[1][column], method, bottom, shift)
                shown[method] = None
        grid[0][column].set_title(space_label(space))
        grid[0][column].set_ylabel("largest eigenvalues")
        grid[1][column].set_ylabel("smallest eigenvalues")
        grid[1][column].axhline(0, linewidth=0.8, color=MUTED, zorder=0)
        for axes in (grid[0][column], grid[1][column]):
            axes.set_xlabel("rank")
            ranks = max(1, round(axes.get_xlim()[1]))
            axes.set_xticks(range(1, ranks + 1))
            axes.set_xlim(0.5, ranks + 0.5)
        low, high = grid[0][column].get_ylim()
        grid[0][column].set_ylim(min(0.0, low), high + 0.06 * abs(high))
    add_legend(figure, tuple(shown), lines=False)
    facts = [
        f"{method_label(row.method)} {significant(row.values['lambda_max'].mean)} in {space_phrase(row.space)}"
        for row in rows
        if "lambda_max" in row.values
    ]
    return Drawing(
        name=name,
        title="Eigenvalues by space",
        caption="Largest (top row) and smallest (bottom row) algebraic Hessian eigenvalues of the training loss. Bars "
        "are residuals ‖Hv − λv‖, within which an eigenvalue lies; a bar may be smaller than its marker. One marker "
        "for each run and rank.",
        alt=f"Dot plots of eigenvalues by rank. Largest, mean over seeds: {'; '.join(facts)}.",
        figure=figure,
    )


def _any_eigenvalue(store: Store, task: str, space: str) -> bool:
    measured = (run.space(space) for run in store.runs if run.task == task)
    return any(found.top or found.bottom for found in measured if found is not None)


def _points(axes: Axes, method: str, pairs: list[Eigenvalue], shift: float) -> None:
    if not pairs:
        return
    ranks = [rank + 1 + shift for rank in range(len(pairs))]
    values = [pair.value for pair in pairs]
    residuals = [pair.residual or 0.0 for pair in pairs]
    axes.errorbar(ranks, values, yerr=residuals, linestyle="", elinewidth=1.2, capsize=2, **marks(method))
