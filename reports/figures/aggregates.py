"""Aggregates over tasks with their intervals, and the probability of improvement (Agarwal et al., arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from reports.aggregates import AGGREGATES, Aggregated, MethodAggregates
from reports.figures.canvas import MUTED, Drawing, blank, marks
from reports.store import Store
from reports.style import method_label


def draw_aggregates(store: Store, found: Mapping[str, MethodAggregates], name: str) -> Drawing | None:
    """Draw the aggregates; None without any."""
    if not found:
        return None
    better = {place: one.improvement for place, one in enumerate(found.values()) if one.improvement is not None}
    figure, (panels,) = blank(1, len(AGGREGATES) + bool(better), height=0.9 + 0.24 * len(found))
    methods = tuple(found)
    for axes, title in zip(panels, AGGREGATES, strict=False):
        _panel(axes, methods, {place: one.values[title] for place, one in enumerate(found.values())}, 100.0)
        axes.set_title(title)
    if better:
        _panel(panels[-1], methods, better, 1.0)
        panels[-1].axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        panels[-1].set_title("Improvement")
        panels[-1].set_xlabel("probability")
        panels[-1].set_xlim(0.0, 1.0)
        panels[-1].set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    for axes in panels:
        axes.set_yticks(range(len(found)), [method_label(m) for m in found] if axes is panels[0] else [""] * len(found))
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    reference = method_label(store.baseline)
    middle = {method: one.values["Interquartile mean"] for method, one in found.items()}
    facts = (
        f"{method_label(m)} {100 * f.value:.1f} % ({100 * f.low:.1f} to {100 * f.high:.1f})" for m, f in middle.items()
    )
    return Drawing(
        name=name,
        title="Aggregates over tasks",
        caption="Interquartile mean, median, mean and optimality gap (smaller is better) of the scores in per cent of "
        f"full marks, and the probability that a run beats one of {reference} on the same task, with 95 % bootstrap "
        "intervals over the runs of every task. Runs are not paired here, nor test examples resampled.",
        alt=f"Interval plots. Interquartile mean: {'; '.join(facts)}.",
        figure=figure,
    )


def _panel(axes: Axes, methods: Sequence[str], found: Mapping[int, Aggregated], scale: float) -> None:
    """Draw one quantity; `found` is by the place of the method."""
    for place, one in found.items():
        # The interquartile mean of a resample may never reach that of the runs where these are few.
        bar = [[scale * max(0.0, one.value - one.low)], [scale * max(0.0, one.high - one.value)]]
        axes.errorbar(scale * one.value, place, xerr=bar, capsize=2.5, linestyle="", **marks(methods[place]))
    axes.set_xlabel("% of full marks")
    axes.locator_params(axis="x", nbins=4)
