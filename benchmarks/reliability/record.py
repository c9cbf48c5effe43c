"""benchmarks/results/reliability.json: one section for each kind of trial, with the machine that it was made on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.written import now, write_json

RESULTS = Path(__file__).parents[1] / "results" / "reliability.json"


def read_section(path: Path, name: str) -> dict[str, Any]:
    """Return a section of the record; empty where there is none."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    section: dict[str, Any] = found.get(name, {})
    return section


def write_section(path: Path, name: str, values: dict[str, Any], *, command: str) -> None:
    """Put a section into the record; the others stay as they are."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    section = {"command": command, "created": now(), **values, "environment": environment(torch.device("cpu"))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found | {name: section})
