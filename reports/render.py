"""The report of a run store: `python -m reports.render RUNS [--out FOLDER]`.

Reads stored runs and nothing else, and writes `index.html` (self-contained), `report.md`, `figures/` (PNG, PDF, SVG)
and `tables/` (CSV, LaTeX, Markdown; all runs as one parquet). The same runs give the same bytes: the only time shown
is the one stored with the comparison. Broken or missing runs become named holes; a folder that is no run store, or has
no finished run, is refused.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.fields import RunStoreError
from reports.plans import Problem
from reports.store import load_store


@dataclass(frozen=True, kw_only=True)
class RenderResult:
    """What was written, and what in the store could not be used."""

    page: Path
    markdown: Path
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]
    problems: tuple[Problem, ...]
    #: Where runs were not made alike, one sentence each.
    warnings: tuple[str, ...] = ()
    #: What changed from the other store, in words; empty where there is none.
    changes: str = ""


def render(
    runs_folder: Path | str,
    out_folder: Path | str | None = None,
    *,
    against: Path | str | None = None,
    fork: bool = False,
) -> RenderResult:
    """Render the report of a run store.

    Args:
        runs_folder: The `--out` folder of a comparison.
        out_folder: Where to write; `runs_folder/report` if None. Files of an earlier report are replaced.
        against: Another run store; the report then says what changed from it to this one.
        fork: Write PNG and PDF in a forked process; for a process that has not loaded torch.

    Raises:
        RunStoreError: the folder is missing, is no run store, or has no finished run (a `ValueError`).
        OSError: the report cannot be written.
    """
    store = load_store(Path(runs_folder))
    other = None if against is None else load_store(Path(against))
    # Drawing libraries take a second to import, which a refused folder should not cost.
    from reports.figures.files import FigureFiles
    from reports.page import html_page, markdown_page
    from reports.sections import build_section, build_summary, run_detail
    from reports.table_files import write_records, write_tables
    from reports.tidy import write_runs

    out = Path(out_folder) if out_folder is not None else store.folder / "report"
    sections = [build_section(store, task) for task in store.tasks]
    summary = build_summary(store, sections, other)
    for folder in (out, out / "figures", out / "tables"):
        _make_own(folder, given=out_folder is not None and folder == out)
    drawings = [*summary.drawings, *(drawing for section in sections for drawing in section.drawings)]
    figures = FigureFiles(drawings, out / "figures", apart=fork)
    details = [run_detail(run) for run in (*store.runs, *store.others)]
    page, markdown = html_page(store, summary, sections, details), markdown_page(store, summary, sections)
    tables = write_tables(summary.tables, out / "tables")
    tables += write_runs(store, out / "tables")
    for section in sections:
        tables += write_tables(section.tables, out / "tables")
        tables += write_records(section, out / "tables")
    _replace(out / "report.md", markdown)
    _replace(out / "index.html", page)
    return RenderResult(
        page=out / "index.html",
        markdown=out / "report.md",
        figures=figures.finish(),
        tables=tuple(tables),
        problems=store.problems,
        warnings=store.warnings,
        changes=summary.changes,
    )


def _make_own(folder: Path, *, given: bool) -> None:
    """Make a folder of the report, in which nothing leads elsewhere: a store may come from somebody else.

    Raises:
        RunStoreError: If a link stands in its place; one that the caller named is taken as it is.
    """
    if folder.is_symlink() and not given:
        raise RunStoreError(
            f"{folder} is a link, and a report would be written to where it leads: remove it, or give --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_symlink() and not path.is_dir():
            path.unlink()


def _replace(path: Path, content: str) -> None:
    """Write a file in one step, so that a killed command leaves the earlier page or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(content, encoding="utf-8", newline="\n")
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (2 for a folder that cannot be rendered)."""
    parser = argparse.ArgumentParser(
        prog="python -m reports.render",
        description="Write the report of a finished or partly finished comparison.",
    )
    parser.add_argument("runs", metavar="RUNS", type=Path, help="the --out folder of a benchmarks.compare command")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to write (default: RUNS/report)")
    parser.add_argument(
        "--against", metavar="OTHER", type=Path, help="another run store: say what changed from it to RUNS"
    )
    options = parser.parse_args(arguments)
    try:
        result = render(options.runs, options.out, against=options.against, fork="torch" not in sys.modules)
    except RunStoreError as fault:
        print(f"reports.render: {fault}", file=sys.stderr)
        return 2
    except OSError as fault:
        print(f"reports.render: cannot write the report: {fault}; choose another --out", file=sys.stderr)
        return 2
    for warning in result.warnings:
        print(f"reports.render: {warning}", file=sys.stderr)
    if result.changes:
        print(f"reports.render: against {options.against}: {result.changes}", file=sys.stderr)
    for problem in result.problems:
        print(f"reports.render: left out {problem}", file=sys.stderr)
    print(result.page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
