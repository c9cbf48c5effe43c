"""Plots what `benchmarks.curvature.scaling` measured: the cost of a product against parameters and against tokens.

Both axes are logarithmic, so that a straight line is a power law; its slope over the upper half of a list stands in
the legend.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.curvature.records import CurvatureRecord
from benchmarks.curvature.scaling import slope
from benchmarks.errors import UsageError
from benchmarks.flags import read_out
from benchmarks.one_line_parser import OneLineParser

_COLOURS = {"gradient": "#737b85", "product": "#0f7ac0", "gauss-newton": "#d55e00"}


def scaling_figure(records: Sequence[CurvatureRecord]) -> Figure:
    """Return the figure of scaling records: one panel for the list of sizes, one for the list of token counts.

    Raises:
        UsageError: If the sizes that were timed do not share one number of tokens, and one only.
    """
    timed = [record for record in records if record.seconds is not None and record.quantity in _COLOURS]
    tokens_of = {size: {r.tokens for r in timed if r.parameters == size} for size in {r.parameters for r in timed}}
    shared_by_all = set.intersection(*tokens_of.values()) if tokens_of else set()
    if len(shared_by_all) != 1:
        raise UsageError(
            f"scaling records: found {len(tokens_of)} sizes that share {len(shared_by_all)} numbers of tokens; "
            "expected a file of benchmarks.curvature scaling, with several --sizes"
        )
    (shared,) = shared_by_all
    base = max(tokens_of, key=lambda size: len(tokens_of[size]))
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        panels = figure.subplots(1, 2)
    for axes, key, chosen, label in (
        (panels[0], "parameters", [r for r in timed if r.tokens == shared], f"parameters, {shared:,} tokens"),
        (panels[1], "tokens", [r for r in timed if r.parameters == base], f"tokens, {base:,} parameters"),
    ):
        for quantity, colour in _COLOURS.items():
            points = sorted((getattr(r, key), 1e3 * (r.seconds or 0.0)) for r in chosen if r.quantity == quantity)
            found = slope(chosen, quantity, key)
            name = quantity if found is None else f"{quantity}, slope {found:.2f}"
            axes.loglog([x for x, _ in points], [y for _, y in points], "o-", color=colour, label=name)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.set_ylabel("milliseconds")
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.curvature plot", description=__doc__.split("\n\n")[0])
    parser.add_argument("records", metavar="FILE.json", help="what benchmarks.curvature.scaling wrote")
    parser.add_argument("--out", default="scaling.png", metavar="FILE.png", help="the picture (default: %(default)s)")
    try:
        options = parser.parse_args(arguments)
        read_out(options)
        try:
            records = [CurvatureRecord(**record) for record in json.loads(Path(options.records).read_text())["records"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{options.records} cannot be read as scaling records: {error}") from None
        figure = scaling_figure([record for record in records if "weights, " in record.case])
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    figure.savefig(options.out, dpi=150, metadata={"Software": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
