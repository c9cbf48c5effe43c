"""The figures of a measurement, drawn from measure.json alone.

One colour a space, the same in every figure; errors are drawn where there are any. Each function returns None when the
record holds nothing for it, so that a page has the figures of what was measured and no empty frames.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, which stay apart under the common forms of colour blindness.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SIZE = (6.4, 3.6)
Spaces = Mapping[str, Mapping[str, Any]]


def colours(spaces: Spaces) -> dict[str, str]:
    """Return the colour of every space of a record."""
    return {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(spaces)}


def eigenvalues(spaces: Spaces) -> Figure | None:
    """Both ends of the spectrum of every space, with residuals as error bars."""
    found = {name: values for name, values in spaces.items() if values.get("top")}
    if not found:
        return None
    figure, axes = _frame("eigenvalue (symmetric log scale)", "rank from the top; negative: from the bottom")
    for name, values in found.items():
        for end, marker, sign in (("top", "o", 1), ("bottom", "v", -1)):
            pairs = values.get(end) or []
            ranks = [sign * (index + 1) for index in range(len(pairs))]
            axes.errorbar(
                [pair["value"] for pair in pairs],
                ranks,
                xerr=[pair["residual"] for pair in pairs],
                fmt=marker,
                color=colours(spaces)[name],
                label=name if end == "top" else None,
                capsize=2,
            )
    largest = max(abs(pair["value"]) for values in found.values() for pair in values["top"]) or 1.0
    axes.set_xscale("symlog", linthresh=largest * 1e-3)
    axes.axvline(0.0, color="#888888", linewidth=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="space")
    return figure


def densities(spaces: Spaces) -> Figure | None:
    """Spectral densities, with a band of one standard error over probes."""
    found = {name: values["density"] for name, values in spaces.items() if "density" in values}
    if not found:
        return None
    # Spectra of different spaces differ by orders of magnitude: each has its own axis.
    figure = Figure(figsize=(_SIZE[0], 2.4 * len(found)), layout="constrained")
    for axes, (name, density) in zip(np.atleast_1d(figure.subplots(len(found))), found.items(), strict=True):
        grid, mean, error = (np.array(density[key]) for key in ("grid", "density", "density_error"))
        axes.plot(grid, mean, color=colours(spaces)[name], label=name)
        axes.fill_between(grid, np.maximum(mean - error, 0), mean + error, color=colours(spaces)[name], alpha=0.25)
        axes.set_yscale("log")
        axes.set_ylim(bottom=mean.max() * 1e-8)
        axes.set_xlabel("eigenvalue")
        axes.set_ylabel("probability density")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(title="space")
    return figure


def robustness(spaces: Spaces) -> Figure | None:
    """The loss after a step of length alpha along the gradient, and the score if one was followed."""
    found = {name: values["robustness"] for name, values in spaces.items() if "robustness" in values}
    if not found:
        return None
    scored = [curve["metric"] for curve in found.values() if curve.get("metric")]
    panels = [("losses", "loss"), *(("metrics", name) for name in scored[:1])]
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(_SIZE[0], _SIZE[1] * len(panels)), layout="constrained")
        columns = np.atleast_1d(figure.subplots(len(panels), sharex=True))
    for axes, (key, label) in zip(columns, panels, strict=True):
        for name, curve in found.items():
            axes.plot(curve["alphas"], curve[key], "o-", color=colours(spaces)[name], label=name)
        axes.set_ylabel(label)
        axes.grid(visible=True, alpha=0.3)
    columns[0].legend(title="space")
    columns[-1].set_xlabel("alpha: length of the step along the gradient, in the coordinates of the space")
    return figure


def slices(spaces: Spaces) -> Figure | None:
    """One-dimensional slices along filter-normalised random directions."""
    found = {name: values["landscape"] for name, values in spaces.items() if "landscape" in values}
    if not found:
        return None
    figure, axes = _frame("alpha, relative to the rows of the weights", "loss")
    for name, cuts in found.items():
        for index, losses in enumerate(cuts["losses"]):
            label = name if index == 0 else None
            axes.plot(cuts["alphas"], losses, ".-", color=colours(spaces)[name], label=label, linewidth=1)
    axes.legend(title="space")
    return figure


def plane(values: Mapping[str, Any]) -> Figure | None:
    """The loss over a plane of two directions of one space."""
    grid = values.get("plane")
    if not grid:
        return None
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.subplots()
    losses = np.array(grid["losses"])
    drawn = axes.contourf(grid["alphas"], grid["betas"], losses.T, levels=20, cmap="cividis")
    axes.plot([0.0], [0.0], "x", color="white")
    axes.set_xlabel(grid["names"][0])
    axes.set_ylabel(grid["names"][1])
    figure.colorbar(drawn, label="loss")
    return figure


def all_figures(spaces: Spaces) -> dict[str, tuple[str, Figure]]:
    """Return every figure of a record: file stem -> (title, figure)."""
    candidates = {
        "eigenvalues": ("Both ends of the spectrum", eigenvalues(spaces)),
        "density": ("Spectral density", densities(spaces)),
        "robustness": ("Robustness to a step along the gradient", robustness(spaces)),
        "slices": ("Slices along random filter-normalised directions", slices(spaces)),
    }
    for name, values in spaces.items():
        stem = "plane-" + "".join(c if c.isalnum() else "-" for c in name)
        candidates[stem] = (f"Loss over a plane, {name}", plane(values))
    return {stem: (title, figure) for stem, (title, figure) in candidates.items() if figure is not None}


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG without a date in it, so that equal records give equal files."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _frame(x: str, y: str) -> tuple[Figure, Axes]:
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes
