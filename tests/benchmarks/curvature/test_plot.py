from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.curvature import plot
from benchmarks.curvature.records import CurvatureRecord


def records() -> list[CurvatureRecord]:
    """Costs that grow as parameters^0.5 and as tokens^1."""
    shapes = [(size, 100) for size in (10**6, 10**7, 10**8)] + [(10**7, tokens) for tokens in (50, 200, 400)]
    return [
        CurvatureRecord(
            case=f"{size} weights, {tokens} tokens", device="cpu", quantity=quantity, parameters=size, tokens=tokens,
            seconds=factor * size**0.5 * tokens,
        )
        for size, tokens in shapes
        for quantity, factor in (("gradient", 1e-6), ("product", 3e-6), ("gauss-newton", 2e-6))
    ]  # fmt: skip


def test_panels_show_every_point_and_state_the_slopes() -> None:
    sizes, tokens = plot.scaling_figure(records()).axes
    for axes, points, slope in ((sizes, 3, "0.50"), (tokens, 4, "1.00")):
        assert [len(line.get_xdata()) for line in axes.lines] == [points] * 3
        assert all(text.get_text().endswith(f"slope {slope}") for text in axes.get_legend().get_texts())


def test_the_command_draws_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, picture = tmp_path / "scaling.json", tmp_path / "scaling.png"
    source.write_text(json.dumps({"records": [asdict(record) for record in records()]}))
    assert plot.main([str(source), "--out", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert plot.main([str(tmp_path / "missing.json")]) == 2
    assert "cannot be read as scaling records" in capsys.readouterr().err
