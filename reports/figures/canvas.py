"""The sheet that figures are drawn on: type, rules, size, and how a finished drawing is written.

Drawings are `matplotlib.figure.Figure` objects on the Agg canvas, never pyplot state, so that drawing neither needs
a display nor leaves figures open. Dates and version strings are kept out of the files and SVG identifiers are
derived from the drawing's name: the same numbers give the same bytes. In the page's SVG, ink and rule colours
become CSS variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.style import LIGHT_PAPER, method_style

INK = "#1b1f24"
MUTED = "#5b636d"
RULE = "#d7dbe0"
#: Width of a drawing in inches: a full text column of a paper.
WIDTH = 7.2


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure with its file name (no suffix), title, caption and text alternative."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The drawing as an SVG document without dates, versions or a background; drawn once for file and page."""
        stream = io.StringIO()
        with sheet(), mpl.rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        return re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), count=1, flags=re.DOTALL)


@contextmanager
def sheet() -> Iterator[None]:
    """Draw and save under the fixed style of all figures; settings of the caller come back afterwards."""
    style: Any = sns.axes_style("ticks")
    style |= sns.plotting_context("paper")
    style |= {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": RULE,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "axes.unicode_minus": True,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
    }
    with mpl.rc_context(style):
        yield


def blank(rows: int, columns: int, *, height: float) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of the standard width with a grid of despined axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    sns.despine(fig=figure)
    return figure, [list(row) for row in axes]


def marks(method: str) -> dict[str, Any]:
    """Return the colour and marker keywords of a method, for `plot` and `errorbar`."""
    style = method_style(method)
    face = LIGHT_PAPER if style.hollow else style.colour
    return {"color": style.colour, "marker": style.marker, "markerfacecolor": face}


def add_legend(figure: Figure, methods: tuple[str, ...], *, lines: bool = True) -> None:
    """Put one shared legend of the methods above the panels."""
    width = 1.6 if lines else 0.0
    handles = [Line2D([], [], linewidth=width, label=method_style(m).label, **marks(m)) for m in methods]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(5, len(handles)), handletextpad=0.5)


def settle(figure: Figure) -> None:
    """Lay the figure out once; saving it in several formats then costs drawing only."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)


def save(drawing: Drawing, folder: Path) -> tuple[Path, Path, Path]:
    """Write the drawing as PNG (200 dpi), PDF and SVG, without dates or versions inside."""
    return *save_prints(drawing, folder), save_svg(drawing, folder)


def save_prints(drawing: Drawing, folder: Path) -> tuple[Path, Path]:
    """Write the drawing as PNG and PDF."""
    png, pdf = (folder / f"{drawing.name}.{suffix}" for suffix in ("png", "pdf"))
    with sheet():
        drawing.figure.savefig(png, metadata={"Software": None})
        drawing.figure.savefig(pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return png, pdf


def save_svg(drawing: Drawing, folder: Path) -> Path:
    """Write the drawing as SVG."""
    path = folder / f"{drawing.name}.svg"
    path.write_text(drawing.svg, encoding="utf-8", newline="\n")
    return path


def inline_svg(drawing: Drawing) -> str:
    """Return the drawing as an SVG element to be placed inside an HTML page."""
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    svg = svg.replace("xlink:href", "href")
    # Several drawings share one page, so identifiers carry the drawing's name.
    svg = re.sub(r'\bid="', f'id="{drawing.name}-', svg)
    svg = re.sub(r'href="#', f'href="#{drawing.name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{drawing.name}-", svg)
    svg = re.sub(r"'DejaVu Sans'", "var(--sans)", svg)
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (RULE, "rule"), (LIGHT_PAPER, "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()
