"""The rule that the exported `pocket-instruct` names in its YAML; lm-eval imports this file by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.tasks import create_task


def instruct(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return whether an answer keeps every requirement of its instruction."""
    task = create_task("pocket-instruct")
    return {"strict_accuracy": task.score(task.examples("test")[doc["index"]], results[0])}
