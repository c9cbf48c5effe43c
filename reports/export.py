"""The tables as CSV files with full precision and one quantity a column.

A printed cell may hold a value, its error and an interval; here each is a column of its own, so that a spreadsheet or a
script can take the numbers without parsing text. Comparison and sharpness are in SI units and fractions of one,
published numbers in the paper's unit, entries of other tables as `Cell.numbers` has them. Missing values are empty
fields.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.comparison import AVERAGED, ComparisonRow
from reports.layout import Table
from reports.published import Pair
from reports.sharpness import ESTIMATES, SharpnessRow
from reports.statistics import Estimate

Flat = dict[str, str | int | float | None]


def comparison_records(rows: Iterable[ComparisonRow]) -> list[Flat]:
    """Return one flat record for each row; scores, differences and their bounds are fractions of full marks."""
    records = []
    for row in rows:
        record: Flat = {"task": row.task, "method": row.method, "seeds": len(row.seeds)}
        record |= {"metric": row.metric.name, "full_marks": row.metric.full_marks}
        for name in (*AVERAGED, *row.metric.part_fields, "relative_cost", *row.harness):
            record |= _columns(name, row.values.get(name))
        record["score_low"] = row.score_interval.low if row.score_interval else None
        record["score_high"] = row.score_interval.high if row.score_interval else None
        record["difference"] = row.difference.difference if row.difference else None
        record["difference_low"] = row.difference.interval.low if row.difference else None
        record["difference_high"] = row.difference.interval.high if row.difference else None
        record["interval_covers"] = row.difference.interval.covers if row.difference else None
        records.append(record)
    return records


def published_records(pairs: Iterable[Pair]) -> list[Flat]:
    """Return one flat record for each published number beside the measured one, in the paper's unit."""
    return [
        {
            "table": pair.table,
            "model": pair.model,
            "task": pair.task,
            "metric": pair.metric,
            "unit": pair.unit,
            "method": pair.method,
            "published": pair.published.value if pair.published else None,
            "published_standard_error": pair.published.standard_error if pair.published else None,
            **_columns("measured", pair.measured),
            "seeds": pair.measured.count if pair.measured else 0,
            "difference": pair.difference,
            "difference_standard_error": pair.difference_error,
            "reason": "; ".join(pair.reasons.values()),
        }
        for pair in pairs
    ]


#: What a printed entry may carry beside its value, in full precision.
_NUMBERS = ("value", "standard_error", "seeds", "low", "high", "probability", "holm_probability")


def table_records(table: Table) -> list[Flat]:
    """Return one flat record for each entry of a printed table: its place, what it shows, and its numbers."""
    records = []
    for group in table.groups:
        for line in group.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                record: Flat = {"group": group.title, "method": line.method, "row": line.label}
                record |= {"column": column.title, "unit": column.unit}
                numbers = dict(cell.numbers)
                record |= {name: numbers.get(name) for name in _NUMBERS}
                record |= {"text": cell.text, "detail": cell.detail, "mark": cell.mark, "reason": cell.reason}
                records.append(record)
    return records


def sharpness_records(rows: Iterable[SharpnessRow]) -> list[Flat]:
    """Return one flat record for each row; eigenvalues and increases are of the mean loss."""
    records = []
    for row in rows:
        record: Flat = {"task": row.task, "space": row.space, "method": row.method, "seeds": len(row.seeds)}
        record |= {"dimension": row.dimension, "radius": row.radius, "average_radius": row.average_radius}
        for name in ESTIMATES:
            record |= _columns(name, row.values.get(name))
        record["lambda_max_residual"] = row.errors.get("lambda_max")
        record["lambda_min_residual"] = row.errors.get("lambda_min")
        record["average_case_draws_standard_error"] = row.errors.get("average_case")
        record["converged"] = None if row.reason else str(row.converged).lower()
        records.append(record)
    return records


def write_csv(path: Path, records: Sequence[Flat]) -> None:
    """Write flat records with one head line; floats in the shortest form that reads back exactly."""
    if not records:
        raise ValueError(f"{path.name} would have no line; a table without rows is not written")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _columns(name: str, found: Estimate | None) -> Flat:
    return {
        name: found.mean if found else None,
        f"{name}_standard_error": found.standard_error if found else None,
    }
