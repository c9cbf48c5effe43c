from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.claims.board import html_page, interval, main, markdown_page, readme_table, summary, write_board


def claim(**changes: Any) -> dict[str, Any]:
    return {
        "group": "generalisation",
        "claim": "A beats <B>",
        "source": "Table 1",
        "scope": "all tasks",
        "quantity": "score, a | b",
        "unit": "points",
        "rule": "holds if the whole 95 % interval lies above 0",
        "measured": 1.25,
        "low": -0.5,
        "high": 3.0,
        "verdict": "undecided here",
        "reason": None,
        "detail": False,
        **changes,
    }


def record(*claims: dict[str, Any]) -> dict[str, Any]:
    return {"command": "c", "environment": {"python": "3"}, "made_on": ["cpu"], "claims": list(claims)}


LOST = claim(measured=None, low=None, high=None, reason="run k failed (train): no memory", group="clip")
DETAIL = claim(scope="one task", detail=True, verdict="holds")


def test_a_line_shows_value_interval_and_reason() -> None:
    assert interval(claim()) == "+1.2 (−0.5 to +3.0) points"
    assert interval(claim(unit="ratio", measured=2e-5, low=1e-5, high=1.5)) == "2.0e-05 (1.0e-05 to 1.5)"
    assert interval(LOST) == "-"
    assert "| undecided here: run k failed (train): no memory |" in readme_table(record(LOST))


def test_the_readme_has_no_details_and_the_page_has_all() -> None:
    board = record(claim(), DETAIL, LOST)
    table, page = readme_table(board), html_page(board)
    assert len(table.splitlines()) == 2 + 2
    assert "score, a \\| b" in table
    assert "one task" not in table
    assert "one task" in page
    assert "one task" in markdown_page(board)
    assert "A beats &lt;B&gt;" in page
    assert "<B>" not in page
    assert "Runs made on cpu" in page
    assert summary(board) == "2 questions: 0 holds, 0 does not hold, 2 undecided here."


def test_all_three_files_are_written(tmp_path: Path) -> None:
    board = record(claim())
    write_board(tmp_path, board)
    assert json.loads((tmp_path / "claims.json").read_text()) == board
    assert (tmp_path / "claims.md").read_text() == markdown_page(board)
    assert (tmp_path / "claims.html").read_text() == html_page(board)


def test_the_command_prints_the_table_and_answers_what_is_no_board_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_board(tmp_path, record(claim()))
    assert main([str(tmp_path / "claims.json")]) == 0
    assert capsys.readouterr().out.strip() == readme_table(record(claim()))
    assert main([str(tmp_path / "absent.json")]) == 2
    assert "expected a claims.json" in capsys.readouterr().err
