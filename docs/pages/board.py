"""The page of claims: what was asked of the Bi-LoRA paper, and the committed answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.claims.board import METHOD, readme_table, summary

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "claims.json"


def claims_page(record: dict[str, Any]) -> str:
    """Return the page of a board."""
    parts = [
        "# Claims of the paper",
        "`python -m benchmarks.claims` asks of each claim of the Bi-LoRA paper whether it holds here. This is the "
        "board of `benchmarks/results/claims.json`, with the pocket tasks as they ship and the paper's radii, untuned; "
        "`benchmarks/results/claims.html` also shows every task of every question.",
        summary(record),
        METHOD,
        readme_table(record),
    ]
    return "\n\n".join(parts) + "\n"


def write_page(folder: Path) -> None:
    """Write the page."""
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    (folder / "claims.md").write_text(claims_page(record), encoding="utf-8")
