"""One-dimensional slices of the loss around the trained weights, space by space (the paper's Figure 4).

Every method is moved along the same filter-normalised directions (Li et al., NeurIPS 2018), so the curves may be
laid over one another. Drawn is the increase over the loss at the centre: of every seed the mean over directions, of
these the mean with a band from the smallest to the largest seed, and for one seed a band over its directions. The loss
at the centre is in the caption, since a flat place can be a high one.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from reports.figures.canvas import Drawing, add_legend, blank, marks
from reports.measurements import Slices
from reports.quantities import setting, significant
from reports.sharpness import collected_by_space, measured_by_method
from reports.store import Store
from reports.style import method_label, space_label, space_phrase


def draw_slices(store: Store, task: str, name: str) -> Drawing | None:
    """Draw the slices of a task in all measured spaces side by side; None if there are none."""
    found = collected_by_space(store, task, collect_slices)
    if not found:
        return None
    figure, (panels,) = blank(1, len(found), height=3.0)
    endings, norms = [], []
    for axes, (space, methods) in zip(panels, found.items(), strict=True):
        for method, slices in methods.items():
            end = draw_increase(axes, method, slices)
            rise = f"rises by {significant(end)}" if math.isfinite(end) else "has no finite loss"
            endings.append(f"{method_label(method)} {rise} in {space_phrase(space)}")
        norms.extend(_norms(space, methods))
        axes.set_title(space_label(space))
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("step α along a direction")
        axes.set_ylabel(f"loss increase ({store.metric_of(task).loss.axis})")
    add_legend(figure, tuple(dict.fromkeys(method for methods in found.values() for method in methods)))
    seeds = max(len(slices) for methods in found.values() for slices in methods.values())
    directions = max(len(one.losses) for methods in found.values() for slices in methods.values() for one in slices)
    over = f"up to {seeds} seeds" if seeds > 1 else "its directions"
    return Drawing(
        name=name,
        title="Slices of the loss",
        caption="Loss increase L(α) − L(0) on training examples along filter-normalised random directions shared "
        f"by all methods ({directions} a run): mean, and range over {over}. " + " ".join([*norms, _heights(found)]),
        alt=f"Line charts of loss increase against step size. At the largest step {'; '.join(endings)}.",
        figure=figure,
    )


def collect_slices(store: Store, task: str, space: str) -> dict[str, list[Slices]]:
    """Return each method's slices, one entry a seed, of all seeds that share their steps with the first."""
    found = measured_by_method(store, task, space, lambda measured: measured.slices)
    return {method: [one for one in every if one.alphas == every[0].alphas] for method, every in found.items()}


def draw_increase(axes: Axes, method: str, slices: list[Slices]) -> float:
    """Draw one method's curve from its slices, one entry a seed; return the mean increase at the largest step."""
    alphas = np.array(slices[0].alphas)
    increases = [np.array(one.losses) - np.array(one.losses)[:, [_centre(one)]] for one in slices]
    by_seed = np.stack([increase.mean(axis=0) for increase in increases])
    spread = by_seed if len(slices) > 1 else increases[0]
    mean = by_seed.mean(axis=0)
    look = marks(method)
    axes.fill_between(alphas, spread.min(axis=0), spread.max(axis=0), color=look["color"], alpha=0.14, linewidth=0)
    axes.plot(alphas, mean, markevery=[0, -1], **look)
    return float(mean[-1])


def _centre(slices: Slices) -> int:
    return int(np.abs(np.array(slices.alphas)).argmin())


def _heights(found: dict[str, dict[str, list[Slices]]]) -> str:
    """Say how high the loss lies at the centre, method by method; it is the same in every space."""
    methods = {method: slices for space in found.values() for method, slices in space.items()}
    heights = [
        f"{method_label(method)} {significant(float(np.mean([one.losses[0][_centre(one)] for one in slices])))}"
        for method, slices in methods.items()
    ]
    return f"Loss at the centre: {', '.join(heights)}."


def _norms(space: str, methods: dict[str, list[Slices]]) -> list[str]:
    """Say how far in weight space the last step goes, where it was recorded."""
    ends = [curve[-1] for slices in methods.values() for one in slices for curve in one.weight_norms]
    ends = [end for end in ends if math.isfinite(end)]
    if not ends:
        return []
    last = max(one.alphas[-1] for slices in methods.values() for one in slices)
    reach = significant(min(ends)), significant(max(ends))
    distance = reach[0] if reach[0] == reach[1] else f"{reach[0]} to {reach[1]}"
    return [f"In {space_phrase(space)} α = {setting(last)} moves the weights by ‖ΔW‖ = {distance}."]
