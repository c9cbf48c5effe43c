"""Score against cost: what a method's extra compute buys, with the interval of every score.

Cost is the time of an optimizer step relative to the baseline's on the same machine, task and seed. The vertical
bars are intervals of each score by itself; whether two methods differ is a matter of the paired difference in the
comparison table, not of whether bars overlap, and the caption says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.comparison import ComparisonRow
from reports.figures.canvas import Drawing, blank, marks, settle
from reports.figures.labels import extents_of_bars, place_labels
from reports.quantities import ratio
from reports.style import method_label


def draw_cost(rows: Sequence[ComparisonRow], baseline: str, name: str) -> Drawing | None:
    """Draw score against relative cost; None if no method has both."""
    shown = [row for row in rows if "score" in row.values and "relative_cost" in row.values]
    if not shown:
        return None
    metric = shown[0].metric
    # Many names need room to lie clear of the bars.
    figure, ((axes,),) = blank(1, 1, height=3.2 + 0.12 * max(0, len(shown) - 4))
    facts, points = [], []
    covers = ""
    for row in shown:
        cost, score = row.values["relative_cost"].mean, metric.scaled(row.values["score"].mean)
        bars = None
        if row.score_interval is not None:
            low, high = metric.scaled(row.score_interval.low), metric.scaled(row.score_interval.high)
            # A percentile interval may leave the mean just outside when nearly all scores are equal.
            bars = [[max(0.0, score - low)], [max(0.0, high - score)]]
            covers = row.score_interval.covers
        axes.errorbar(cost, score, yerr=bars, linestyle="", capsize=3, elinewidth=1.4, **marks(row.method))
        points.append((method_label(row.method), cost, score))
        fact = f"{method_label(row.method)} {metric.full_mark(row.values['score'].mean)} at {ratio(cost)}"
        facts.append(fact)
    axes.set_xlabel(f"time of one optimizer step, relative to {method_label(baseline)}")
    axes.set_ylabel(f"{metric.name} on test examples ({metric.unit})")
    axes.margins(x=0.14, y=0.12 if len(shown) <= 4 else 0.2)
    label_points(figure, axes, points)
    bars_note = f"Bars: 95 % bootstrap interval of each score over {covers}. " if covers else ""
    return Drawing(
        name=name,
        title=f"{metric.title} against cost",
        caption=bars_note + "Overlapping bars do not settle whether two methods differ: the paired difference in the "
        "comparison table does, because all methods answer the same examples.",
        alt=f"Scatter plot of {metric.name} on test examples against relative step time: {'; '.join(facts)}.",
        figure=figure,
    )


def label_points(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Name the points of finished axes, clear of each other and of their own bars and markers."""
    # Labels are placed by their extent on the canvas, so the layout has to be final before.
    settle(figure)
    place_labels(axes, points, extents_of_bars(axes))
