"""Every table as files: LaTeX, Markdown, and CSV with full precision.

Comparison, sharpness and published numbers have a CSV of their own, one quantity a column; the CSV of every other table
has one line an entry, since its columns mean different things from store to store.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from reports.export import comparison_records, published_records, sharpness_records, table_records, write_csv
from reports.latex import latex_table
from reports.layout import Table
from reports.page import markdown_table
from reports.sections import Section

_OWN_RECORDS = ("comparison-", "sharpness-", "published-")


def write_tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write each table as `NAME.tex`, `NAME.md` and, unless its records are written apart, `NAME.csv`."""
    written = []
    for table in tables:
        for suffix, content in (("tex", latex_table(table)), ("md", markdown_table(table))):
            written.append(folder / f"{table.name}.{suffix}")
            written[-1].write_text(content, encoding="utf-8", newline="\n")
        if not table.name.startswith(_OWN_RECORDS):
            records = table_records(table)
            if records:  # none where the table has holes alone
                written.append(folder / f"{table.name}.csv")
                write_csv(written[-1], records)
    return written


def write_records(section: Section, folder: Path) -> list[Path]:
    """Write the rows behind the tables of a task as CSV."""
    content = [(section.comparison_table, comparison_records(section.rows))]
    if section.sharpness_table is not None:
        content.append((section.sharpness_table, sharpness_records(section.sharpness)))
    if section.published_table is not None:
        content.append((section.published_table, published_records(section.published)))
    written = []
    for table, records in content:
        written.append(folder / f"{table.name}.csv")
        write_csv(written[-1], records)
    return written
