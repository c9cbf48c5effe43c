"""`python -m docs.pages.pictures`: draws the pictures of the concepts from the computations of `docs.pages.gauges`.

The files are committed, since a build should not depend on a drawing library's version. The same numbers give the
same bytes: no date, no random identifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import NullFormatter

from docs.pages.gauges import FOLDER, RADII, Gauges, measure_gauges, measure_rises

_BLUE, _VERMILION, _GREEN, _GREY = "#0f7ac0", "#d55e00", "#12936d", "#737b85"
_LABELS = {"full": "full space", "tangent": "tangent space", "lora": "LoRA space, balanced gauge"}
_COLOURS = {"full": _BLUE, "tangent": _GREEN, "lora": _VERMILION}


def plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Label the horizontal axis by these numbers, written out."""
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_formatter(NullFormatter())


def scalar_picture() -> Figure:
    """Draw the loss (b a - 1)^2 / 2 over (a, b), with two minima that are one model, and their curvature."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    plane, curve = figure.subplots(1, 2)
    a, b = np.meshgrid(np.linspace(0.05, 3.2, 300), np.linspace(0.05, 3.2, 300))
    plane.contour(a, b, (a * b - 1) ** 2 / 2, levels=[0.005, 0.02, 0.08, 0.3, 1.0, 3.0], colors=_GREY, linewidths=0.8)
    line = np.linspace(0.32, 3.1, 200)
    plane.plot(line, 1 / line, color=_BLUE, label="b a = 1: one and the same model")
    for scale in (1.0, 2.5):
        plane.plot(scale, 1 / scale, "o", color=_VERMILION)
        plane.add_patch(Circle((scale, 1 / scale), 0.3, fill=False, color=_VERMILION, linestyle="--"))
    plane.set(xlabel="a", ylabel="b", aspect="equal", title="Loss in the factors")
    plane.legend(loc="upper right", fontsize=8)
    scales = np.geomspace(0.25, 4, 100)
    curve.loglog(scales, scales**2 + scales**-2, color=_VERMILION, label="in (a, b): c² + 1 / c²")
    curve.axhline(2.0, color=_GREEN, label="in the balanced gauge a = b: 2")
    curve.axhline(1.0, color=_BLUE, label="in w = b a: 1")
    plain_ticks(curve, (0.25, 0.5, 1, 2, 4))
    curve.set_ylim(0.6, 30)
    curve.set(xlabel="c, with a = c and b = 1 / c", title="Largest eigenvalue at the minimum")
    curve.legend(fontsize=8)
    return figure


def gauge_picture(gauges: Gauges) -> Figure:
    """Draw the curvature of one trained network under rescaled factors."""
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.loglog(gauges.scales, gauges.raw, "o-", color=_VERMILION, markersize=3, label="factors as they are")
    axes.loglog(gauges.scales, gauges.balanced, "s-", color=_GREEN, markersize=3, label="LoRA space, balanced gauge")
    axes.loglog(gauges.scales, gauges.full, "D-", color=_BLUE, markersize=3, label="full space")
    plain_ticks(axes, (0.25, 0.5, 1, 2, 4))
    axes.set(xlabel="c: every A times c, every B over c", ylabel="largest Hessian eigenvalue")
    axes.legend(fontsize=8)
    return figure


def rise_picture(rises: dict[str, list[float]]) -> Figure:
    """Draw the worst rise against the radius, by space."""
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, values in rises.items():
        axes.loglog(RADII, values, "o-", color=_COLOURS[name], markersize=3, label=_LABELS[name])
    plain_ticks(axes, RADII)
    axes.set(xlabel="radius ‖ΔW‖", ylabel="largest rise of the loss found")
    axes.legend(fontsize=8)
    return figure


def write_pictures(folder: Path) -> None:
    """Write the three pictures as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "scalar": scalar_picture(),
        "gauge": gauge_picture(measure_gauges()),
        "rises": rise_picture(measure_rises()),
    }
    for name, figure in figures.items():
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    write_pictures(FOLDER)
