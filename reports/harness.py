"""What the lm-evaluation-harness gave for a run: a side file of its folder, and columns of its row.

The file `lm-eval.json` holds, for each task, the metric that stands for it with value and standard error; a run that
was not scored has none. Columns are called `lm-eval: TASK`, `lm-eval: TASK standard error` and, where a part of the
examples was scored, `lm-eval: TASK limit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reports.fields import number

SIDE_FILE = "lm-eval.json"
PREFIX = "lm-eval: "
_ERROR = " standard error"
_LIMIT = " limit"


def harness_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a side file makes."""
    columns: dict[str, Any] = {}
    for task, found in record.items():
        if isinstance(found, dict):
            columns[f"{PREFIX}{task}"] = found.get("value")
            columns[f"{PREFIX}{task}{_ERROR}"] = found.get("standard_error")
            if found.get("limit") is not None:
                columns[f"{PREFIX}{task}{_LIMIT}"] = found["limit"]
    return columns


def whole_score(row: Mapping[str, Any], task: str) -> float | None:
    """Return a row's score on all examples of a task, a share of one; None where it has none or that of a part."""
    return None if row.get(f"{PREFIX}{task}{_LIMIT}") is not None else number(row, f"{PREFIX}{task}")


def harness_names(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns with scores that any of some rows has, in order."""
    names = (name for row in rows for name in row if name.startswith(PREFIX) and not name.endswith((_ERROR, _LIMIT)))
    return tuple(dict.fromkeys(names))
