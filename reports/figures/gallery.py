"""All figures of one task, in the order of the page.

A figure that has nothing to show is left out rather than drawn empty. File names are made from the kind of figure
and the task.
"""

from __future__ import annotations

from reports.comparison import ComparisonRow
from reports.figures.canvas import Drawing, settle, sheet
from reports.figures.cost import draw_cost
from reports.figures.curves import draw_curves
from reports.figures.increases import draw_increases
from reports.figures.pictures import draw_pictures
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
            draw_slices(store, task, f"slices-{slug}"),
            draw_spectrum(store, task, sharpness, f"spectrum-{slug}"),
            draw_increases(sharpness, f"sharpness-{slug}"),
        )
        shown = tuple(drawing for drawing in drawings if drawing is not None)
        for drawing in shown:
            settle(drawing.figure)
    return shown
