"""How fast adapters reach their final direction, in the layout of the paper's Figure 3: one panel a factor.

Solid is the adapter that is kept, dashed the auxiliary of methods that have one. Each curve is the cosine between a
factor's value at a step and at the end of training; at the start B is zero and has no direction.
"""

from __future__ import annotations

from reports.figures.bands import draw_band
from reports.figures.canvas import MUTED, Drawing, add_legend, blank, marks
from reports.quantities import significant
from reports.store import Store
from reports.style import method_label

_DASHES = (0, (3, 2))


def draw_convergence(store: Store, task: str, name: str) -> Drawing | None:
    """Draw cosines to the final state; None if no run of the task recorded them."""
    recorded = {
        method: [run.dynamics for run in store.runs_of(task, method) if run.dynamics and run.dynamics.cosines]
        for method in store.methods_of(task)
    }
    shown = tuple(method for method, found in recorded.items() if found)
    if not shown:
        return None
    figure, (panels,) = blank(1, 2, height=2.7)
    halves = []
    for axes, factor in zip(panels, ("A", "B"), strict=True):
        for method in shown:
            look = {**marks(method), "marker": ""}
            primary = [found.cosines.get(("primary", factor), ()) for found in recorded[method]]
            auxiliary = [found.cosines.get(("auxiliary", factor), ()) for found in recorded[method]]
            draw_band(axes, primary, **look)
            own = draw_band(axes, auxiliary, linestyle=_DASHES, **look)
            if own and factor == "B":
                step, value = own[len(own) // 2]
                halves.append(f"auxiliary B of {method_label(method)} {significant(value)} at step {step:g}")
        axes.set_title(f"Factor {factor}")
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("cosine to the final state")
        axes.set_ylim(-0.1, 1.05)
    panels[1].plot([], [], color=MUTED, label="kept adapter")
    panels[1].plot([], [], color=MUTED, linestyle=_DASHES, label="auxiliary")
    panels[1].legend(loc="lower right")
    add_legend(figure, shown)
    labels = ", ".join(method_label(method) for method in shown)
    return Drawing(
        name=name,
        title="Convergence of the adapters",
        caption="Cosine of each factor to its final state, over all layers: the kept adapter (solid) and the auxiliary "
        "(dashed). Mean over seeds, bands from the smallest to the largest.",
        alt=f"Line charts of cosine to the final state for {labels}; {'; '.join(halves) or 'no auxiliary'}.",
        figure=figure,
    )
