"""All figures over tasks and of one task, in the order of the page.

A figure that has nothing to show is left out rather than drawn empty. File names are made from the kind of figure
and the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reports.comparison import ComparisonRow
from reports.figures.canvas import Drawing, settle, sheet
from reports.figures.convergence import draw_convergence
from reports.figures.cost import draw_cost
from reports.figures.curves import draw_curves
from reports.figures.increases import draw_increases
from reports.figures.intervals import draw_intervals
from reports.figures.pareto import draw_pareto
from reports.figures.pictures import draw_pictures
from reports.figures.recorded import draw_capture, draw_second_order
from reports.figures.slices import draw_slices
from reports.figures.spectrum import draw_spectrum
from reports.sharpness import SharpnessRow
from reports.store import Store, task_slug


def draw_task(
    store: Store, task: str, rows: tuple[ComparisonRow, ...], sharpness: tuple[SharpnessRow, ...]
) -> tuple[Drawing, ...]:
    """Return the drawings of a task."""
    slug = task_slug(task)
    with sheet():
        drawings = (
            draw_pictures(store, task, f"pictures-{slug}"),
            draw_cost(rows, store.baseline, f"cost-{slug}"),
            draw_curves(store, task, f"curves-{slug}"),
            draw_convergence(store, task, f"convergence-{slug}"),
            draw_second_order(store, task, f"second-order-{slug}"),
            draw_capture(store, task, f"capture-{slug}"),
            draw_slices(store, task, f"slices-{slug}"),
            draw_spectrum(store, task, sharpness, f"spectrum-{slug}"),
            draw_increases(sharpness, f"sharpness-{slug}"),
        )
        return _settled(drawings)


def draw_summary(store: Store, rows: Mapping[str, tuple[ComparisonRow, ...]]) -> tuple[Drawing, ...]:
    """Return the drawings over all tasks; none where there is only one, whose own say the same."""
    if len(store.tasks) < 2:
        return ()
    with sheet():
        return _settled((draw_intervals(store, "intervals"), draw_pareto(store, rows, "pareto")))


def _settled(drawings: Iterable[Drawing | None]) -> tuple[Drawing, ...]:
    shown = tuple(drawing for drawing in drawings if drawing is not None)
    for drawing in shown:
        settle(drawing.figure)
    return shown
