"""Landscapes as `--landscape` stores them, added to a synthetic store."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

ALPHAS = [-0.5, -0.25, 0.0, 0.25, 0.5]
WIDTH, DIMENSION = 0.5, 61_440
SHARPNESS = {"lora": 3.0, "lora-sam": 2.0, "bilora": 1.0}


def landscapes(method: str, seed: int, space: str) -> dict[str, Any]:
    """Return the three records of one space; numbers depend on method, seed and space."""
    scale = SHARPNESS[method] * (1 + 0.1 * seed) * (2 if space == "full" else 1)
    grid = [-2.0 + 0.25 * place for place in range(49)]
    return {
        "robustness": {
            "alphas": [0.0, 0.5, 1.0],
            "weight_norms": [0.0, 0.5, 1.0],
            "losses": [0.1, 0.1 + 0.2 * scale, 0.1 + 0.7 * scale],
            "metrics": [0.8, 0.8 - 0.02 * scale, 0.8 - 0.05 * scale],
            "examples": 64,
        },
        "density": {
            "grid": grid,
            "density": [math.exp(-0.5 * (value / WIDTH) ** 2) / (WIDTH * math.sqrt(2 * math.pi)) for value in grid],
            "width": WIDTH,
            "dimension": DIMENSION,
        },
        "plane": {
            "alphas": ALPHAS,
            "betas": ALPHAS[1:4],
            "losses": [[0.1 + scale * (a * a + 3 * b * b + b) for b in ALPHAS[1:4]] for a in ALPHAS],
        },
    }


def add_landscapes(folder: Path) -> Path:
    """Add the records to every run of a store that has a measurement."""
    for path in sorted((folder / "runs").glob("*/measurement.json")):
        row = json.loads((path.parent / "run.json").read_text())["row"]
        content = json.loads(path.read_text())
        for space, record in content["spaces"].items():
            record |= landscapes(row["method"], row["seed"], space)
        path.write_text(json.dumps(content))
    return folder
