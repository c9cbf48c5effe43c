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


def test_what_cannot_be_drawn_is_answered_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, one_size = tmp_path / "scaling.json", [record for record in records() if record.parameters == 10**7]
    binary = tmp_path / "picture.png"
    binary.write_bytes(b"\x89PNG\xff")
    picture = str(tmp_path / "scaling.png")
    for kept, found in (([], "found 0 sizes that share 0"), (one_size, "found 1 sizes that share 4")):
        source.write_text(json.dumps({"records": [asdict(record) for record in kept]}))
        assert plot.main([str(source), "--out", picture]) == 2
        assert found in capsys.readouterr().err
    assert plot.main([str(binary), "--out", picture]) == 2
    assert "cannot be read as scaling records" in capsys.readouterr().err
    assert plot.main([str(source), "--out", str(tmp_path / "no" / "folder.png")]) == 2
    assert capsys.readouterr().err.startswith("error: --out: the folder of")
