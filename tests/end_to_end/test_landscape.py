"""`--landscape` from the command to the figures, on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import compare
from tests.models import save_tiny_model


@pytest.mark.slow
def test_landscapes_are_stored_drawn_and_scored(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    arguments = [
        *("--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--device", "cpu", "--threads", "1"),
        *("--methods", "lora,bilora", "--steps", "4", "--batch-size", "4", "--evaluations", "1", "--top", "1"),
        *("--evaluation-examples", "2", "--test-examples", "4", "--measure-examples", "2", "--max-products", "20"),
        *("--landscape", "robustness,surface,density"),
    ]
    assert compare.main(arguments) == 0
    for path in (tmp_path / "out" / "runs").glob("*/measurement.json"):
        content = json.loads(path.read_text())
        for space in ("full", "lora"):
            found = content["spaces"][space]
            assert found["top"]
            assert found["robustness"]["losses"][0] == pytest.approx(content["loss"], rel=1e-6)
            assert found["robustness"]["examples"] == 2
            assert len(found["robustness"]["metrics"]) == 6
            assert found["plane"]["losses"][6][6] == pytest.approx(content["loss"], rel=1e-6)
            assert len(found["density"]["grid"]) == 256
    figures = {path.stem for path in (tmp_path / "out" / "report" / "figures").glob("*.svg")}
    assert {f"{name}-pocket-math" for name in ("robustness", "surfaces", "density")} <= figures
