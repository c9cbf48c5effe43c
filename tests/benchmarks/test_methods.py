from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import methods
from bilora.methods import METHODS


def test_the_table_has_a_full_row_for_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods.main(["--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(METHODS)
    for name, line in zip(METHODS, lines[2:], strict=True):
        cells = [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
        assert cells[0] == name
        assert len(cells) == len(methods.COLUMNS)
        assert all(cells)


def test_published_costs_are_those_of_the_paper() -> None:
    """Table A16 of arXiv 2508.19564, seconds per step on Llama-2-7B, over LoRA's 2.81 s."""
    seconds = {"lora": 2.81, "lora-sam": 5.52, "bilora": 3.12, "flat-lora": 3.42, "lora-esam": 4.20, "rop": 2.88}
    for name, value in seconds.items():
        if name in METHODS:
            assert METHODS[name].published_cost == pytest.approx(value / 2.81, abs=0.006)


def test_details_name_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods.main(["bilora"]) == 0
    shown = capsys.readouterr().out
    assert "rho (default: 0.05)" in shown
    assert "2508.19564" in shown


def test_measured_costs_are_read_from_the_committed_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.json"
    records = [
        {"method": "lora", "path": "stock", "ratio_to_our_lora": 1.5},
        {"method": "lora", "path": "fused", "ratio_to_our_lora": 1.0},
        {"method": "bilora", "path": "fused", "ratio_to_our_lora": 1.037},
    ]
    path.write_text(json.dumps({"records": records}))
    monkeypatch.setattr(methods, "MEASURED", path)
    assert methods.measured_costs() == {"lora": "1.00", "bilora": "1.04"}
    monkeypatch.setattr(methods, "MEASURED", tmp_path / "missing.json")
    assert methods.measured_costs() == {}


def test_narrow_terminals_get_blocks_and_wide_ones_a_table() -> None:
    narrow, wide = io.StringIO(), io.StringIO()
    methods.print_all(Console(file=narrow, force_terminal=True, width=80))
    methods.print_all(Console(file=wide, width=80))
    assert "4-bit base" in narrow.getvalue()
    assert "━" not in narrow.getvalue()
    assert "━" in wide.getvalue()


def test_an_unknown_method_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods.main(["bi-lora"]) == 2
    assert "unknown method 'bi-lora', did you mean 'bilora'?" in capsys.readouterr().err
