"""All figures over tasks and of one task, in the order of the page.

A figure that has nothing to show is left out rather than drawn empty. File names are made from the kind of figure
and the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reports.aggregates import MethodAggregates
from reports.comparison import ComparisonRow
from reports.figures.aggregates import draw_aggregates
from reports.figures.canvas import Drawing, settle, sheet
from reports.figures.convergence import draw_convergence
from reports.figures.cost import draw_cost
from reports.figures.curves import draw_curves
from reports.figures.densities import draw_densities
from reports.figures.increases import draw_increases
from reports.figures.intervals import draw_intervals
from reports.figures.over_tasks import draw_slices_by_task, draw_training, spaces_over_tasks
from reports.figures.pareto import draw_pareto
from reports.figures.pictures import draw_pictures
from reports.figures.recorded import draw_capture, draw_second_order
from reports.figures.robustness import draw_robustness
from reports.figures.sensitivity import draw_sensitivity
from reports.figures.slices import draw_slices
from reports.figures.spectrum import draw_spectrum
from reports.figures.surfaces import draw_surfaces
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
            draw_surfaces(store, task, f"surfaces-{slug}"),
            draw_robustness(store, task, f"robustness-{slug}"),
            draw_densities(store, task, f"density-{slug}"),
            draw_spectrum(store, task, sharpness, f"spectrum-{slug}"),
            draw_increases(sharpness, f"sharpness-{slug}"),
        )
        return _settled(drawings)


def draw_summary(
    store: Store, rows: Mapping[str, tuple[ComparisonRow, ...]], aggregated: Mapping[str, MethodAggregates]
) -> tuple[Drawing, ...]:
    """Return the drawings over all tasks; of a single task only what its own do not say."""
    with sheet():
        sensitivity = draw_sensitivity(store, "sensitivity")
        if len(store.tasks) < 2:
            return _settled((sensitivity,))
        return _settled(
            (
                draw_aggregates(store, aggregated, "aggregates"),
                draw_intervals(store, "intervals"),
                draw_pareto(store, rows, "pareto"),
                sensitivity,
                draw_training(store, "training"),
                *(
                    draw_slices_by_task(store, space, f"slices-in-{task_slug(space)}")
                    for space in spaces_over_tasks(store)
                ),
            )
        )


def _settled(drawings: Iterable[Drawing | None]) -> tuple[Drawing, ...]:
    shown = tuple(drawing for drawing in drawings if drawing is not None)
    for drawing in shown:
        settle(drawing.figure)
    return shown
