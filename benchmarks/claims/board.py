"""The board of answers: claims.json, and the same in Markdown and as a page that needs nothing else.

`python -m benchmarks.claims.board claims.json` prints the table; the site's page of claims is made from it, so that
the two cannot differ.
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.registry import GROUPS
from benchmarks.claims.verdict import FAILS, HOLDS, UNDECIDED
from benchmarks.errors import UsageError
from benchmarks.one_line_parser import OneLineParser
from benchmarks.written import write_json

Record = Mapping[str, Any]
COLUMNS = ("claim", "source", "on", "quantity", "measured (95 % interval)", "verdict")
METHOD = (
    "Every rule was fixed before the runs: a claim holds where the whole 95 % interval lies on its side, does not hold "
    "where the whole interval lies on the other, and is undecided here otherwise. Intervals are Student's: of scores "
    "with the variance of seeds and of test examples taken apart (two-way analysis of variance, degrees of freedom by "
    "Satterthwaite), of other numbers over seeds. Verdicts are about these tasks and models, with the paper's settings "
    "untuned, and are not corrected for their number."
)
_COLOURS = {HOLDS: "#1b7f4d", FAILS: "#b3261e", UNDECIDED: "#5f6368"}


def write_board(folder: Path, record: Record) -> None:
    """Write claims.json, claims.md and claims.html of a board."""
    write_json(folder / "claims.json", record)
    (folder / "claims.md").write_text(markdown_page(record), encoding="utf-8")
    (folder / "claims.html").write_text(html_page(record), encoding="utf-8")


def cells(claim: Record) -> tuple[str, ...]:
    """Return one line of the board as text, in the order of `COLUMNS`."""
    shown = claim["verdict"] if claim["reason"] is None else f"{claim['verdict']}: {claim['reason']}"
    return (claim["claim"], claim["source"], claim["scope"], claim["quantity"], interval(claim), shown)


def interval(claim: Record) -> str:
    """Return the measured value with its interval and unit."""
    if claim["measured"] is None:
        return "-"
    value, low, high = (_written(claim[name], claim["unit"]) for name in ("measured", "low", "high"))
    return f"{value} ({low} to {high})" + (" points" if claim["unit"] == "points" else "")


def _written(value: float, unit: str) -> str:
    if unit == "points":
        return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}") if abs(value) >= 1e-3 else f"{value:.1e}"


def markdown_table(claims: Iterable[Record]) -> str:
    """Return lines of the board as one Markdown table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(cells(claim) for claim in claims)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def readme_table(record: Record) -> str:
    """Return the table of the site: every claim over all of its tasks, and each task of the first group."""
    return markdown_table(claim for claim in record["claims"] if not claim["detail"])


def _groups(record: Record) -> Iterable[tuple[str, Sequence[Record]]]:
    for name, title in GROUPS.items():
        found = [claim for claim in record["claims"] if claim["group"] == name]
        if found:
            yield title, found


def summary(record: Record) -> str:
    """Return how many of the claims hold, one sentence."""
    main = [claim["verdict"] for claim in record["claims"] if not claim["detail"]]
    counts = ", ".join(f"{main.count(name)} {name}" for name in (HOLDS, FAILS, UNDECIDED))
    return f"{len(main)} questions: {counts}."


def markdown_page(record: Record) -> str:
    """Return the whole board in Markdown."""
    parts = ["# Claims of the Bi-LoRA paper, measured here", summary(record), METHOD, f"Command: `{record['command']}`"]
    for title, claims in _groups(record):
        parts += [f"## {title[0].upper()}{title[1:]}", markdown_table(claims)]
    return "\n\n".join(parts) + "\n"


def html_page(record: Record) -> str:
    """Return the whole board as one page; all text is escaped."""
    environment = f"Runs made on {', '.join(record['made_on']) or 'nothing'}. Board: " + ", ".join(
        f"{name} {value}" for name, value in record["environment"].items()
    )
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Claims of the Bi-LoRA paper</title>",
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#202124}"
        "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #dadce0;padding:.35rem .6rem;"
        "text-align:left;vertical-align:top}h2{margin-top:2.2rem;font-size:1.1rem}tr.detail td{color:#5f6368}</style>",
        "<h1>Claims of the Bi-LoRA paper, measured here</h1>",
        *(f"<p>{html.escape(text)}</p>" for text in (summary(record), METHOD, f"Command: {record['command']}")),
    ]
    for title, claims in _groups(record):
        parts.append(
            f"<h2>{html.escape(title[0].upper() + title[1:])}</h2><p>{html.escape(_rules(claims))}</p><table><tr>"
        )
        parts += [f"<th>{html.escape(column)}</th>" for column in COLUMNS]
        parts.append("</tr>")
        for claim in claims:
            *plain, verdict = (html.escape(cell) for cell in cells(claim))
            colour = _COLOURS[claim["verdict"]]
            parts.append(f"<tr class='{'detail' if claim['detail'] else 'main'}'>")
            parts += [f"<td>{cell}</td>" for cell in plain]
            parts.append(f"<td style='color:{colour}'>{verdict}</td></tr>")
        parts.append("</table>")
    parts.append(f"<p>{html.escape(environment)}</p></html>")
    return "\n".join(parts) + "\n"


def _rules(claims: Sequence[Record]) -> str:
    return "; ".join(dict.fromkeys(claim["rule"] for claim in claims)) + "."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a board; returns the exit code (0: done, 2: bad input)."""
    parser = OneLineParser(
        prog="python -m benchmarks.claims.board", description="Print the Markdown table of a board that was written."
    )
    parser.add_argument("board", metavar="FILE.json", help="claims.json of a benchmarks.claims command")
    try:
        path = Path(parser.parse_args(arguments).board)
        try:
            table = readme_table(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} cannot be read as a board: {error}; expected a claims.json") from None
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
