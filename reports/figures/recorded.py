"""Two curves of what was recorded while runs trained: the second-order term of LoRA-SAM (Figure 2), and capture.

The second-order term is ||eps_B eps_A|| over ||B eps_A + eps_B A||, on a logarithmic axis with the paper's 1e-4 as a
line. Capture is the first-order rise of the auxiliary's perturbation over the most at its radius and rank.
"""

from __future__ import annotations

from collections.abc import Callable

from reports.dynamics import Curve, Dynamics
from reports.figures.bands import draw_band
from reports.figures.canvas import MUTED, Drawing, add_legend, blank, marks
from reports.quantities import significant
from reports.store import Store
from reports.style import method_label

#: Below this the paper calls the second-order term negligible.
NEGLIGIBLE = 1e-4


def draw_second_order(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the relative size of the second-order term; None if no run recorded it."""
    return _draw(
        store,
        task,
        name,
        lambda found: found.second_order,
        title="Second-order term of the perturbation",
        axis="second / first order",
        caption="Size of the second-order part of LoRA-SAM's perturbation, ‖ε_B ε_A‖ over ‖B ε_A + ε_B A‖, at the "
        "states that training passed. Dashed: 10⁻⁴, below which the paper calls it negligible. ",
        line=NEGLIGIBLE,
    )


def draw_capture(store: Store, task: str, name: str) -> Drawing | None:
    """Draw capture over training; None if no run recorded it."""
    return _draw(
        store,
        task,
        name,
        lambda found: found.capture,
        title="Capture over training",
        axis="rise over the best possible",
        caption="First-order rise of the loss under the auxiliary's perturbation, over the most at its radius and "
        "rank. ",
        line=None,
    )


def _draw(
    store: Store,
    task: str,
    name: str,
    curve_of: Callable[[Dynamics], Curve],
    *,
    title: str,
    axis: str,
    caption: str,
    line: float | None,
) -> Drawing | None:
    curves = {
        method: [curve for run in store.runs_of(task, method) if run.dynamics and (curve := curve_of(run.dynamics))]
        for method in store.methods_of(task)
    }
    shown = tuple(method for method, found in curves.items() if found)
    if not shown:
        return None
    figure, ((axes,),) = blank(1, 1, height=2.8)
    facts = []
    for method in shown:
        mean = draw_band(axes, curves[method], **{**marks(method), "markersize": 3})
        values = [value for _, value in mean]
        if values:
            facts.append(f"{method_label(method)} between {significant(min(values))} and {significant(max(values))}")
    if line is not None:
        axes.set_yscale("log")
        axes.axhline(line, color=MUTED, linestyle=(0, (3, 2)), linewidth=1.0)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(axis)
    add_legend(figure, shown)
    return Drawing(
        name=name,
        title=title,
        caption=caption + "Mean over seeds, bands from the smallest to the largest.",
        alt=f"Line chart against optimizer step: {'; '.join(facts)}.",
        figure=figure,
    )
