"""Runs that share a store: `execute` is a stand-in here, the store and its locks are real."""

from __future__ import annotations

import io
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import execution
from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.execution import attempt, run_all
from benchmarks.progress import ComparisonProgress
from benchmarks.run import RunFailed
from benchmarks.spec import RunSpec
from benchmarks.storage import StorageError
from benchmarks.store import RunStore
from benchmarks.written import write_json
from tests.benchmarks.test_spec import SPEC

SPECS = [replace(SPEC, seed=seed) for seed in range(4)]
FOLDERS = {SPEC.model: Path("model")}


class StandIn:
    """Writes a run's record after a while, and remembers who did what."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.done: list[str] = []
        self.failing: dict[str, BaseException] = {}

    def __call__(self, spec: RunSpec, *, folder: Path, **kwargs: Any) -> str | None:
        time.sleep(self.seconds)
        if spec.key in self.failing:
            raise RunFailed("train", "it failed") from self.failing[spec.key]
        self.done.append(spec.key)
        write_json(folder / "run.json", {"row": {"key": spec.key}, "failure": None})
        return None


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    monkeypatch.setattr(execution, "execute", found)
    monkeypatch.setattr(execution, "LOOK_AGAIN", 0.02)
    return found


def carried_out(folder: Path) -> int:
    store = RunStore(folder)
    store.create()
    return run_all(SPECS, model_folders=FOLDERS, store=store, console=Console(file=io.StringIO()))


def test_two_identical_commands_share_the_runs_and_both_end_with_all(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.seconds = 0.05
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(carried_out(tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert codes == [0, 0]
    assert sorted(stand_in.done) == sorted(spec.key for spec in SPECS)  # none twice
    assert not list((tmp_path / "locks").iterdir())


def test_the_second_command_says_whom_it_waits_for_and_takes_over_what_is_left(
    tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunStore(tmp_path)
    other.create()
    with other.claimed(SPECS[0].key):
        thread = threading.Thread(target=carried_out, args=(tmp_path,))
        thread.start()
        while len(stand_in.done) < 3:
            time.sleep(0.01)
        time.sleep(0.1)
        assert SPECS[0].key not in stand_in.done
    # The other command ended without finishing its run.
    thread.join(timeout=60)
    assert stand_in.done[-1] == SPECS[0].key
    assert "waiting: 1 run is being carried out by process " in capsys.readouterr().err


def test_what_another_command_saw_fail_is_not_tried_again(tmp_path: Path, stand_in: StandIn) -> None:
    other = RunStore(tmp_path)
    other.create()
    codes: list[int] = []
    with other.claimed(SPECS[1].key):
        thread = threading.Thread(target=lambda: codes.append(carried_out(tmp_path)))
        thread.start()
        while len(stand_in.done) < 3:
            time.sleep(0.01)
        time.sleep(0.1)
        other.record_failure(SPECS[1], stage="train", message="diverged", details="")
    thread.join(timeout=60)
    assert codes == [1]
    assert SPECS[1].key not in stand_in.done


def test_a_failed_run_is_noted_and_the_others_go_on(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.failing = {SPECS[1].key: ValueError("its own mistake")}
    assert carried_out(tmp_path) == 1
    assert len(stand_in.done) == 3
    noted = json.loads((tmp_path / "failed" / f"{SPECS[1].key}.json").read_text())
    assert (noted["stage"], noted["message"]) == ("train", "it failed")
    assert "its own mistake" in noted["details"]


def test_a_full_disk_stops_the_command_with_what_is_finished_kept(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.failing = {SPECS[2].key: OSError(28, "No space left on device")}
    with pytest.raises(StorageError, match=r"no space left on the device; finished runs are kept"):
        carried_out(tmp_path)
    assert len(stand_in.done) == 2
    assert not (tmp_path / "failed").exists()
    stand_in.failing = {}
    assert carried_out(tmp_path) == 0
    assert len(stand_in.done) == 4


def test_checkpoints_go_when_the_run_is_finished_or_has_failed(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.failing = {SPECS[1].key: ValueError()}
    for spec in SPECS:
        (tmp_path / "checkpoints" / spec.key).mkdir(parents=True)
    carried_out(tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    assert CheckpointPolicy().active


def attempted(folder: Path, spec: RunSpec) -> execution.Attempt:
    store, progress = RunStore(folder), ComparisonProgress([1.0], Console(file=io.StringIO()))
    with progress.run(0, "run") as run_progress:
        return attempt(spec, model_folder=Path("model"), store=store, policy=CheckpointPolicy(), progress=run_progress)


def test_one_attempt_finishes_fails_or_finds_the_run_taken(tmp_path: Path, stand_in: StandIn) -> None:
    store = RunStore(tmp_path)
    store.create()
    stand_in.failing = {SPECS[1].key: ValueError("its own mistake")}
    assert attempted(tmp_path, SPECS[0]) == execution.Attempt(outcome="finished", done=True)
    assert attempted(tmp_path, SPECS[0]) == execution.Attempt(outcome="finished", done=False)
    assert stand_in.done == [SPECS[0].key]  # once
    failed = attempted(tmp_path, SPECS[1])
    assert failed.outcome == "failed"
    assert failed.line.startswith(f"run {SPECS[1].key} failed (train): it failed; details in ")
    with store.claimed(SPECS[2].key):
        taken = attempted(tmp_path, SPECS[2])
    assert taken.outcome == "elsewhere"
    assert taken.line.startswith("process ")


def test_ranks_count_what_another_command_could_not_measure(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.ranks.world_size", lambda: 2)
    monkeypatch.setattr("benchmarks.ranks.wait", lambda: None)
    store = RunStore(tmp_path)
    store.create()
    held = RunStore(tmp_path)

    def finished_meanwhile(specs: Any, of: RunStore, console: Console) -> tuple[list[RunSpec], int]:
        # Between the look at what is missing and its turn another command finishes one, and cannot measure it.
        with held.writing(SPECS[1].key) as folder:
            record = {"row": {}, "failure": {"stage": "measure", "message": "no convergence"}}
            write_json(folder / "run.json", record)
        return list(specs), 0

    monkeypatch.setattr(execution, "outstanding", finished_meanwhile)
    assert carried_out(tmp_path) == 1
    assert SPECS[1].key not in stand_in.done
    assert len(stand_in.done) == 3
