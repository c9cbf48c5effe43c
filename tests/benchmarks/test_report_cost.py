"""The store that the report is timed on is one that the report reads."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report_cost import write_store
from reports.store import load_store


def test_the_store_is_complete_and_readable(tmp_path: Path) -> None:
    count = write_store(tmp_path / "store", seeds=1, examples=4)
    store = load_store(tmp_path / "store")
    assert count == len(store.runs) == 20 * 5
    assert store.problems == store.holes == ()
    assert all(len(run.examples) == 4 and run.series("loss")[0] for run in store.runs)
