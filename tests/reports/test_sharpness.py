"""Sharpness rows: every number is recomputed here from the stored files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.sharpness import build_sharpness, equal_radii
from reports.store import load_store

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def stored(folder: Path, method: str) -> list[Any]:
    """Return the stored measurements of all seeds of a method."""
    paths = sorted((folder / "runs").glob(f"{method}-{TASK}-s*/measurement.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_sharpness_is_the_mean_over_seeds_with_the_largest_error(three_seeds: Path) -> None:
    rows = {(row.space, row.method): row for row in build_sharpness(load_store(three_seeds), TASK)}
    assert [space for space, _ in rows] == ["full"] * 3 + ["lora"] * 3
    for (space, method), row in rows.items():
        spaces = [run["spaces"][space] for run in stored(three_seeds, method)]
        top = [max(s["top"], key=lambda pair: pair["value"]) for s in spaces]
        bottom = [min(s["bottom"], key=lambda pair: pair["value"]) for s in spaces]
        assert row.values["lambda_max"].mean == pytest.approx(np.mean([pair["value"] for pair in top]))
        assert row.values["lambda_min"].mean == pytest.approx(np.mean([pair["value"] for pair in bottom]))
        assert row.errors["lambda_max"] == max(pair["residual"] for pair in top)
        assert row.errors["lambda_min"] == max(pair["residual"] for pair in bottom)
        for name in ("worst_case_one_step", "worst_case", "average_case"):
            assert row.values[name].mean == pytest.approx(np.mean([s[name]["increase"] for s in spaces]))
        assert row.errors["average_case"] == max(s["average_case"]["standard_error"] for s in spaces)
        assert row.values["products"].mean == np.mean([s["products"] for s in spaces])
        assert (row.dimension, row.converged) == (spaces[0]["dimension"], True)
        assert (row.radius, row.average_radius) == (0.05, 1.0)


def test_radii_that_differ_are_not_shown_as_one(make_store: MakeStore) -> None:
    folder = make_store()
    path = folder / "runs" / f"bilora-{TASK}-s0" / "measurement.json"
    record = json.loads(path.read_text())
    record["spaces"]["full"]["worst_case"]["radius"] = 0.1
    record["spaces"]["full"]["top"][0]["converged"] = False
    path.write_text(json.dumps(record))
    rows = [row for row in build_sharpness(load_store(folder), TASK) if row.space == "full"]
    assert [row.radius for row in rows] == [0.05, 0.05, None]
    assert [row.converged for row in rows] == [True, True, False]
    assert equal_radii(rows) == (None, 1.0)
    assert equal_radii(rows[:2]) == (0.05, 1.0)


def test_an_unmeasured_run_is_a_hole_in_every_space(make_store: MakeStore) -> None:
    folder = make_store()
    (folder / "runs" / f"bilora-{TASK}-s0" / "measurement.json").unlink()
    rows = [row for row in build_sharpness(load_store(folder), TASK) if row.method == "bilora"]
    assert [(row.values, row.reason) for row in rows] == [({}, "not measured in this run")] * 2
