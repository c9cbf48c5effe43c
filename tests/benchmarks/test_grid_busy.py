from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.grid_busy import main, summary
from tests.benchmarks.executors.test_busy import SPANS


def test_the_summary_has_shares_start_and_pauses() -> None:
    found = summary(SPANS, workers=2, started=95.0)
    assert found["wall_seconds"] == 10
    assert found["busy_share"] == pytest.approx(0.8)
    assert found["busy_share_by_worker"] == [0.8, 0.8]
    assert found["start_seconds"] == 5
    assert found["busy_share_with_start"] == pytest.approx(16 / 30)
    assert found["pauses_seconds"] == [1.0, 0.0]
    assert found["repeated"] == []


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (("--executors", "slurm"), "--executors: found 'slurm'; expected any of local, ray"),
        (("--seeds", "0"), "--seeds: found '0'; expected a whole number"),
    ],
)
def test_bad_flags_are_refused(flag: tuple[str, str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flag) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_grid_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "busy.json"
    small = ("--device", "cpu", "--threads", "1", "--steps", "2", "--test-examples", "2", "--measure", "false")
    assert main(("--executors", "local", "--workers", "2", "--seeds", "2", "--out", str(out), *small)) == 0
    found = json.loads(out.read_text())["executors"]["local"]
    assert (found["runs"], found["finished"], found["failures"], found["repeated"]) == (4, 4, 0, [])
    assert 0.5 < found["busy_share"] <= 1
    assert len(found["pauses_seconds"]) == 2
