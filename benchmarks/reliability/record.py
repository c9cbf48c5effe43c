"""benchmarks/results/reliability.json: one section for each kind of trial, with the machine that it was made on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.errors import UsageError, one_line
from benchmarks.written import now, write_json

RESULTS = Path(__file__).parents[1] / "results" / "reliability.json"


def read_record(path: Path, *, flag: str = "--record") -> dict[str, Any]:
    """Return all sections of a record; none where there is no file yet.

    Raises:
        UsageError: If the file holds something else, which writing a section would lose or fail over.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{flag}: {path} cannot be read: {one_line(error)}; expected a record in JSON") from None
    if not isinstance(found, dict):
        raise UsageError(f"{flag}: {path} holds a {type(found).__name__}; expected an object with a section a trial")
    return found


def read_section(path: Path, name: str) -> dict[str, Any]:
    """Return a section of the record; empty where there is none."""
    section: dict[str, Any] = read_record(path).get(name, {})
    return section


def write_section(path: Path, name: str, values: dict[str, Any], *, command: str) -> None:
    """Put a section into the record; the others stay as they are."""
    found = read_record(path)
    section = {"command": command, "created": now(), **values, "environment": environment(torch.device("cpu"))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found | {name: section})
