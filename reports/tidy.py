"""All runs of a store as one tidy parquet, with its data dictionary in the file and beside it.

One line a run, one quantity a column (`reports.columns`); `main` tells the runs of the tables from those under other
settings. Descriptions and units are metadata of the parquet's fields, and a Markdown table for people.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reports.columns import COLUMNS, ExportColumn, Value
from reports.store import Store

_TYPES = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
_MAIN = "Whether the run is in the tables: false for other settings of its method."


def write_runs(store: Store, folder: Path) -> tuple[Path, Path]:
    """Write `runs.parquet` and `runs-columns.md`; the same runs give the same bytes."""
    parquet, dictionary = folder / "runs.parquet", folder / "runs-columns.md"
    runs = [(run, True) for run in store.runs] + [(run, False) for run in store.others]
    main = ExportColumn(name="main", kind="boolean", unit="", description=_MAIN, read=lambda run: None)
    columns = (*COLUMNS, main)
    values: list[list[Value]] = [[column.read(run) for run, _ in runs] for column in COLUMNS]
    values.append([is_main for _, is_main in runs])
    schema = pa.schema([_field(column) for column in columns], metadata={"baseline": store.baseline})
    arrays = [
        pa.array([_storable(value) for value in found], type=_TYPES[column.kind])
        for found, column in zip(values, columns, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), parquet, compression="zstd")
    dictionary.write_text(_dictionary(columns), encoding="utf-8", newline="\n")
    return parquet, dictionary


def _storable(value: Value) -> Value:
    """Return a value, or None for a whole number beyond 64 bits, which JSON can hold and Parquet cannot."""
    return None if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def _field(column: ExportColumn) -> pa.Field:
    metadata = {"description": column.description, "unit": column.unit}
    return pa.field(column.name, _TYPES[column.kind], metadata=metadata)


def _dictionary(columns: tuple[ExportColumn, ...]) -> str:
    lines = ["# Columns of runs.parquet", "", "| column | type | unit | what it is |", "|---|---|---|---|"]
    lines += [f"| `{column.name}` | {column.kind} | {column.unit} | {column.description} |" for column in columns]
    return "\n".join([*lines, ""])
