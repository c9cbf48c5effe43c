"""Average score against average cost over all tasks: which methods no other beats on both.

A method is on the front if none is at least as good and as cheap and better in one; the front is of the means shown,
and bars (one standard error over seeds) say how much they move. Methods that lack a task are left out, since an average
over other tasks does not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.comparison import ComparisonRow
from reports.figures.canvas import MUTED, Drawing, blank, marks
from reports.figures.cost import label_points
from reports.overview import overview_methods
from reports.quantities import ratio
from reports.standing import mean_by_seed
from reports.statistics import estimate
from reports.store import Store
from reports.style import method_label


def front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Return the places of (cost, score) that no other point beats: not dearer, not worse, and better in one."""
    return tuple(
        place
        for place, (cost, score) in enumerate(points)
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
    )


def draw_pareto(store: Store, rows: Mapping[str, tuple[ComparisonRow, ...]], name: str) -> Drawing | None:
    """Draw the average score against the average relative cost; None if fewer than two methods have all tasks."""
    points = []
    for method in overview_methods(store):
        here = [row for found in rows.values() for row in found if row.method == method]
        runs = {task: store.runs_of(task, method) for task in store.tasks}
        if not all(runs.values()) or not all("relative_cost" in row.values for row in here):
            continue
        means = mean_by_seed(runs)
        if means is not None:
            cost = sum(row.values["relative_cost"].mean for row in here) / len(here)
            points.append((method, cost, estimate(tuple(means.values()))))
    if len(points) < 2:
        return None
    figure, ((axes,),) = blank(1, 1, height=3.0)
    for method, cost, found in points:
        error = None if found.standard_error is None else 100 * found.standard_error
        axes.errorbar(cost, 100 * found.mean, yerr=error, linestyle="", capsize=3, elinewidth=1.4, **marks(method))
    best = sorted(points[place][1:] for place in front([(cost, found.mean) for _, cost, found in points]))
    axes.plot([c for c, _ in best], [100 * f.mean for _, f in best], color=MUTED, linewidth=1.0, zorder=0)
    axes.set_xlabel(f"time of one optimizer step, relative to {method_label(store.baseline)}, mean over tasks")
    axes.set_ylabel("average score (% of full marks)")
    axes.margins(x=0.14, y=0.14)
    label_points(figure, axes, [(method_label(method), cost, 100 * found.mean) for method, cost, found in points])
    facts = (f"{method_label(m)} {100 * f.mean:.1f} % at {ratio(c)}" for m, c, f in points)
    names = ", ".join(method_label(m) for m, c, f in points if (c, f) in best)
    return Drawing(
        name=name,
        title="Average score against cost",
        caption=f"Means over {len(store.tasks)} tasks, bars one standard error over seeds. Grey: the front of these "
        f"means ({names}); methods inside their bars may change places.",
        alt=f"Scatter plot of average score against relative step time: {'; '.join(facts)}.",
        figure=figure,
    )
