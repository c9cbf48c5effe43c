from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reliability.kills import _look, _same, _Tally, kill_sweeps
from benchmarks.reliability.sweep import Sweep
from benchmarks.written import write_json
from tests.models import save_tiny_model


@pytest.mark.slow
def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    sweep = Sweep(out=tmp_path / "out", data=tmp_path, methods="lora,bilora", steps=8, model=str(model))
    found = kill_sweeps(tmp_path, kills=3, seed=1, sweep=sweep, say=lambda line: None)
    assert found["lossless_kills"] == found["kills"] == 3
    assert found["sweeps_identical_to_an_uninterrupted_one"] == found["sweeps"]
    assert found["finished_runs_repeated"] == found["complete_files_that_could_not_be_read"] == 0


def stored(folder: Path, score: float) -> Sweep:
    run = folder / "runs" / "k"
    run.mkdir(parents=True)
    write_json(run / "run.json", {"row": {}})
    write_json(run / "examples.json", [score])
    (folder / "results.csv").write_text(f"score,step_seconds,step_gradients,peak_memory_bytes\n{score},1,1,1\n")
    return Sweep(out=folder, data=folder)


def test_a_difference_a_leftover_a_repetition_and_half_a_file_are_seen(tmp_path: Path) -> None:
    reference, same, other = stored(tmp_path / "a", 0.5), stored(tmp_path / "b", 0.5), stored(tmp_path / "c", 0.25)
    assert _same(reference, same)
    assert not _same(reference, other)
    (tmp_path / "b" / "failed").mkdir()
    (tmp_path / "b" / "failed" / "k.json").write_text("{}")
    assert not _same(reference, same)
    tally = _Tally()
    done = _look(reference, {}, tally)
    assert list(done) == ["k"]
    _look(reference, {"k": 1}, tally)  # written at another time than before
    _look(reference, {"gone": 1}, tally)
    assert (tally.repeated, tally.unreadable) == (2, 0)
    (tmp_path / "a" / "runs" / "k" / "examples.json").write_text("[0.")
    assert _look(reference, done, tally) == done
    assert tally.unreadable == 1
