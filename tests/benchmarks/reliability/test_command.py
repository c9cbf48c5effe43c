from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.reliability.__main__ import main


def test_a_section_is_written_and_the_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "reliability.json"
    record.write_text('{"kills": {"kills": 30}}')
    assert main(["--record", str(record), "--seed", "3", "fuzz", "--inputs", "40", "--kinds", "published"]) == 0
    assert "fuzz: as promised" in capsys.readouterr().out
    found = json.loads(record.read_text())
    assert found["kills"] == {"kills": 30}
    assert (found["fuzz"]["answered"], found["fuzz"]["inputs"], found["fuzz"]["seed"]) == (40, 40, 3)
    assert found["fuzz"]["environment"]["python"]
    wanted = "python -m benchmarks.reliability --seed 3 fuzz --inputs 40 --kinds published"
    assert found["fuzz"]["command"] == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fuzz", "--inputs", "0"], "argument --inputs: found '0'; expected a whole number of at least 1"),
        (["fuzz", "--inputs", "\u00b2"], "argument --inputs: found '\u00b2'; expected a whole number"),
        (["fuzz", "--kinds", "adaptr"], "argument --kinds: found 'adaptr', did you mean 'adapter folders'?; expected"),
        ([], "trial"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_record_that_cannot_be_read_is_refused_before_the_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "reliability.json"
    record.write_text("{")
    assert main(["--record", str(record), "scheduling", "--runs", "1"]) == 2
    assert f"error: --record: {record} cannot be read" in capsys.readouterr().err
    assert record.read_text() == "{"


@pytest.mark.slow
def test_the_overhead_of_a_short_run_is_timed(tmp_path: Path) -> None:
    record = tmp_path / "reliability.json"
    main(["--record", str(record), "overhead", "--steps", "20"])  # so short a run says nothing of the share
    found = json.loads(record.read_text())["overhead"]
    assert 0 < found["store_and_lock_seconds"] < found["run_seconds"]
    assert 0 < found["progress_seconds"] < found["run_seconds"]
    assert 0 < found["checkpoint_seconds"] < found["run_seconds"]
    assert found["checkpoints_timed"] == 20
    total = found["store_and_lock_seconds"] + found["progress_seconds"]
    assert found["share_of_the_run"] == pytest.approx(total / found["run_seconds"], rel=0.05, abs=1e-5)
