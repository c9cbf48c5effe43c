"""The store that the report is timed on is one that the report reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report_cost import main, write_store
from reports.store import load_store


def test_the_store_is_complete_and_readable(tmp_path: Path) -> None:
    count = write_store(tmp_path / "store", seeds=1, examples=4)
    store = load_store(tmp_path / "store")
    assert count == len(store.runs) == 20 * 5
    assert store.problems == store.holes == ()
    assert all(len(run.examples) == 4 and run.series("loss")[0] for run in store.runs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds: found '0'; expected a whole number of at least 1"),
        (["--examples", "many"], "--examples: found 'many'; expected a whole number of at least 1"),
        (["--out", "nowhere/report.json"], "--out: the folder of nowhere/report.json does not exist"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
