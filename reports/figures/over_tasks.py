"""Small panels over all tasks, methods laid over one another: slices of the loss by space, and losses while training.

Slices have the form of the paper's Figure 4 for each task of its Figure A4; what A1 and A4 show beyond training curves
and landscapes of several tasks is not known to us, so these are our layout. Adapter variants
are in the figures of each task alone.
"""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes

from reports.figures.canvas import Drawing, add_legend, blank
from reports.figures.curves import draw_losses
from reports.figures.slices import collect_slices, draw_increase
from reports.overview import overview_methods
from reports.runs import Run
from reports.sharpness import measured_spaces
from reports.store import Store
from reports.style import method_label, order_spaces, space_label

#: Panels beside each other.
_COLUMNS = 4


def draw_training(store: Store, name: str) -> Drawing | None:
    """Draw the validation loss of every task while it is trained; None where fewer than two recorded any."""
    shown = [task for task in store.tasks if any(run.series("validation_loss")[0] for run in _runs(store, task))]
    if len(shown) < 2:
        return None
    methods: dict[str, None] = {}

    def panel(axes: Axes, task: str) -> None:
        drawn = draw_losses(axes, store, task, "validation_loss", methods=overview_methods(store))
        methods.update(dict.fromkeys(drawn))
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("validation loss")

    return _drawing(
        name,
        shown,
        panel,
        methods,
        title="Training over tasks",
        caption="Validation loss of the trained adapter alone against optimizer steps, task by task: mean over seeds, "
        "bands from the smallest to the largest.",
        alt="Line charts of validation loss against optimizer step",
    )


def draw_slices_by_task(store: Store, space: str, name: str) -> Drawing | None:
    """Draw the slices of every task in one space; None where fewer than two have any."""
    shown = [task for task in store.tasks if collect_slices(store, task, space)]
    if len(shown) < 2:
        return None
    methods: dict[str, None] = {}

    def panel(axes: Axes, task: str) -> None:
        for method, slices in collect_slices(store, task, space).items():
            if method in overview_methods(store):
                draw_increase(axes, method, slices)
                methods[method] = None
        axes.set_xlabel("step α")
        axes.set_ylabel("loss increase")
        axes.locator_params(nbins=4)

    return _drawing(
        name,
        shown,
        panel,
        methods,
        title=f"Slices of the loss over tasks: {space_label(space)}",
        caption="Loss increase L(α) − L(0) along filter-normalised random directions shared by all methods of a task: "
        "mean over directions and seeds, bands from the smallest to the largest seed.",
        alt="Line charts of loss increase against step size",
    )


def spaces_over_tasks(store: Store) -> tuple[str, ...]:
    """Return every space in which a run of any task was measured."""
    return order_spaces({space for task in store.tasks for space in measured_spaces(store, task)})


def _drawing(
    name: str,
    tasks: list[str],
    panel: Callable[[Axes, str], None],
    methods: dict[str, None],
    *,
    title: str,
    caption: str,
    alt: str,
) -> Drawing:
    columns = min(_COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    figure, grid = blank(lines, columns, height=0.4 + 1.9 * lines)
    panels = [axes for line in grid for axes in line]
    for axes, task in zip(panels, tasks, strict=False):
        panel(axes, task)
        axes.set_title(task)
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    for place, axes in enumerate(panels[: len(tasks)]):
        # One word an axis is enough where panels stand side by side.
        axes.set_ylabel(axes.get_ylabel() if place % columns == 0 else "")
        axes.set_xlabel(axes.get_xlabel() if place + columns >= len(tasks) else "")
    add_legend(figure, tuple(methods))
    labels = ", ".join(method_label(method) for method in methods)
    return Drawing(
        name=name,
        title=title,
        caption=caption,
        alt=f"{alt}, one for each of {', '.join(tasks)}; lines: {labels}.",
        figure=figure,
    )


def _runs(store: Store, task: str) -> list[Run]:
    return [run for run in store.runs if run.task == task]
