"""Aggregates over tasks with their intervals, and the probability of improvement (Agarwal et al., arXiv 2108.13264)."""

from __future__ import annotations

from matplotlib.axes import Axes

from reports.aggregates import AGGREGATES, Aggregated, aggregate, comparable, improvement
from reports.figures.canvas import MUTED, Drawing, blank, marks
from reports.overview import overview_methods
from reports.store import Store
from reports.style import method_label


def draw_aggregates(store: Store, name: str) -> Drawing | None:
    """Draw the aggregates of all methods that have two seeds on every task; None for fewer than two of them."""
    scores = comparable(store, overview_methods(store))
    if len(scores) < 2:
        return None
    baseline = scores.get(store.baseline)
    columns = len(AGGREGATES) + (baseline is not None)
    figure, (panels,) = blank(1, columns, height=0.9 + 0.24 * len(scores))
    facts = []
    for axes, (title, take) in zip(panels, AGGREGATES.items(), strict=False):
        found = {method: aggregate(values, take) for method, values in scores.items()}
        _panel(axes, found, 100.0)
        axes.set_title(title)
        if title == "Interquartile mean":
            facts += [
                f"{method_label(m)} {100 * f.value:.1f} % ({100 * f.low:.1f} to {100 * f.high:.1f})"
                for m, f in found.items()
            ]
    if baseline is not None:
        better = {m: improvement(values, baseline) for m, values in scores.items() if m != store.baseline}
        _panel(panels[-1], better, 1.0, places={method: place for place, method in enumerate(scores)})
        panels[-1].axvline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        panels[-1].set_title("Improvement")
        panels[-1].set_xlabel("probability")
        panels[-1].set_xlim(0.0, 1.0)
    for axes in panels:
        axes.set_yticks(
            range(len(scores)), [method_label(m) for m in scores] if axes is panels[0] else [""] * len(scores)
        )
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    reference = method_label(store.baseline)
    return Drawing(
        name=name,
        title="Aggregates over tasks",
        caption="Interquartile mean, median, mean and optimality gap (smaller is better) of the scores in per cent of "
        f"full marks, and the probability that a run beats one of {reference} on the same task, with 95 % bootstrap "
        "intervals over the runs of every task. Runs are not paired here, nor test examples resampled.",
        alt=f"Interval plots. Interquartile mean: {'; '.join(facts)}.",
        figure=figure,
    )


def _panel(axes: Axes, found: dict[str, Aggregated], scale: float, *, places: dict[str, int] | None = None) -> None:
    for order, (method, one) in enumerate(found.items()):
        place = order if places is None else places[method]
        # The interquartile mean of a resample may never reach that of the runs where these are few.
        bar = [[scale * max(0.0, one.value - one.low)], [scale * max(0.0, one.high - one.value)]]
        axes.errorbar(scale * one.value, place, xerr=bar, capsize=2.5, linestyle="", **marks(method))
    axes.set_xlabel("% of full marks")
    axes.locator_params(axis="x", nbins=4)
