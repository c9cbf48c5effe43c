"""`python -m benchmarks.methods`: every training method on one page, from what the methods say of themselves.

The published cost is what the Bi-LoRA paper prints (Table A16, Llama-2-7B, seconds per step over LoRA's); the
measured one is read from this project's committed step times and is missing for what was not measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.errors import UsageError, nearest
from benchmarks.one_line_parser import OneLineParser
from bilora.methods import METHODS

MEASURED = Path(__file__).parent / "results" / "step-cost-methods.json"
COLUMNS = (
    "method", "rule", "perturbs", "radius", "gradients a step", "memory beyond LoRA", "4-bit base", "cost in the paper",
    "cost here", "source",
)  # fmt: skip
# A table of ten columns cannot be read in fewer characters.
_WIDTH = 200


def rows() -> list[tuple[str, ...]]:
    """Return one row of `COLUMNS` for each method."""
    measured = measured_costs()
    return [
        (
            name,
            cls.summary,
            cls.perturbs,
            cls.radius_convention,
            cls.cost_rule,
            cls.memory_rule,
            "yes" if cls.refused_on_quantised is None else f"no: {cls.refused_on_quantised}",
            "-" if cls.published_cost is None else f"{cls.published_cost:.2f}",
            measured.get(name, "-"),
            cls.source,
        )
        for name, cls in METHODS.items()
    ]


def measured_costs() -> dict[str, str]:
    """Return the committed step costs, in steps of this project's LoRA in the same run."""
    if not MEASURED.is_file():
        return {}
    records = json.loads(MEASURED.read_text())["records"]
    return {
        record["method"]: f"{record['ratio_to_our_lora']:.2f}"
        for record in records
        if record["path"] == "fused" and record["ratio_to_our_lora"] is not None
    }


def markdown() -> str:
    """Return the table in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def details(name: str) -> str:
    """Return what one method says of itself, with its options, one fact a line."""
    cls = METHODS[name]
    row = dict(zip(COLUMNS, next(row for row in rows() if row[0] == name), strict=True))
    width = max(map(len, COLUMNS))
    lines = [f"{column:<{width}}  {value}" for column, value in row.items()]
    lines += ["", "options:" if fields(cls.options_class) else "options: none"]
    for entry in fields(cls.options_class):
        default = "none" if entry.default is None else entry.default
        lines.append(f"  {entry.name} (default: {default}): {entry.metadata['help']}")
    return "\n".join(lines)


def print_all(console: Console) -> None:
    """Print the table, or, on a terminal too narrow for it, one block for each method."""
    if console.is_terminal and console.width < _WIDTH:
        for name in METHODS:
            console.print(details(name), "", sep="\n", highlight=False, soft_wrap=True)
        return
    console.width = max(console.width, _WIDTH)
    table = Table(*COLUMNS, show_lines=True)
    for row in rows():
        table.add_row(*row)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.methods", description="List the training methods.")
    parser.add_argument("name", nargs="?", help="show one method with its options")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    try:
        options = parser.parse_args(arguments)
        if options.name is not None and options.name not in METHODS:
            raise UsageError(
                f"unknown method {options.name!r}{nearest(options.name, list(METHODS))}; known: {', '.join(METHODS)}"
            )
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.name is not None:
        print(details(options.name))
    elif options.markdown:
        print(markdown())
    else:
        print_all(Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
