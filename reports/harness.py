"""What the lm-evaluation-harness gave for a run: a side file of its folder, and columns of its row.

The file `lm-eval.json` holds, for each task, the metric that stands for it with value and standard error; a run that
was not scored has none. Columns are called `lm-eval: TASK`, and `lm-eval: TASK standard error` beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SIDE_FILE = "lm-eval.json"
PREFIX = "lm-eval: "
_ERROR = " standard error"


def harness_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a side file makes."""
    columns: dict[str, Any] = {}
    for task, found in record.items():
        if isinstance(found, dict):
            columns[f"{PREFIX}{task}"] = found.get("value")
            columns[f"{PREFIX}{task}{_ERROR}"] = found.get("standard_error")
    return columns


def harness_names(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns with scores that any of some rows has, in order."""
    names = (name for row in rows for name in row if name.startswith(PREFIX) and not name.endswith(_ERROR))
    return tuple(dict.fromkeys(names))
