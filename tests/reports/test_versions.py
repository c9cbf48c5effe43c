"""Runs that were not made alike are said to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.render import main
from reports.store import load_store

TASK = "pocket-math"
MakeStore = Callable[..., Path]


def test_runs_made_alike_are_not_mentioned(one_seed: Path) -> None:
    assert load_store(one_seed).warnings == ()


def test_other_versions_are_counted_on_page_and_command_line(
    make_store: MakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_store(count=20)
    path = folder / "runs" / f"lora-{TASK}-s0" / "run.json"
    record = json.loads(path.read_text())
    record["environment"]["torch"] = "2.11.0"
    record["spec"]["task_version"] = "2"
    path.write_text(json.dumps(record))
    expected = (
        "runs of different torch: 2.11.0 (1 run), 2.13.0 (2 runs)",
        f"runs of different versions of {TASK}: 2 (1 run), not recorded (2 runs)",
    )
    assert load_store(folder).warnings == expected
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    message = capsys.readouterr().err
    for sentence in expected:
        assert f"reports.render: {sentence}\n" in message
        assert sentence in (tmp_path / "out" / "index.html").read_text()
        assert sentence in (tmp_path / "out" / "report.md").read_text()
