"""A grid over a real store, with workers that are stand-ins in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.executors import grid as module
from benchmarks.executors.dispatch import WorkerLost
from benchmarks.executors.grid import Grid
from benchmarks.executors.job import Answer, Job
from benchmarks.storage import StorageError
from benchmarks.store import RunStore
from benchmarks.written import write_json
from tests.benchmarks.test_spec import SPEC

SPECS = [replace(SPEC, seed=seed) for seed in range(4)]


class StandIn:
    """Writes a run's record, or does what a test asks for a seed."""

    def __init__(self, does: dict[int, Callable[[Job], Answer]]) -> None:
        self.number, self.name = 0, "worker 0"
        self.jobs: list[Job] = []
        self.stopped = False
        self._does = does

    def start(self, wanted: Callable[[], bool]) -> bool:
        return wanted()

    def carry_out(self, job: Job) -> Answer:
        self.jobs.append(job)
        return self._does.get(job.spec.seed, finish)(job)

    def stop(self) -> None:
        self.stopped = True


def finish(job: Job) -> Answer:
    with RunStore(job.store).writing(job.spec.key) as folder:
        write_json(folder / "run.json", {"row": {"key": job.spec.key}, "failure": None})
    return Answer(outcome="finished", began=10.0 * job.spec.seed, ended=10.0 * job.spec.seed + 10)


def lose(job: Job) -> Answer:
    raise WorkerLost("was ended by SIGKILL")


def carried_out(
    folder: Path, does: dict[int, Callable[[Job], Answer]], specs: Sequence = SPECS
) -> tuple[int, StandIn, str]:
    store, worker, shown = RunStore(folder), StandIn(does), io.StringIO()
    store.create()
    policy = CheckpointPolicy(steps=7, seconds=None)
    with Grid([worker]) as grid:
        failures = grid.run_all(
            specs,
            model_folders={SPEC.model: Path("model")},
            store=store,
            console=Console(file=shown, width=200),
            policy=policy,
        )
    assert worker.stopped
    assert all(job.policy == policy for job in worker.jobs)
    return failures, worker, shown.getvalue()


def test_what_is_missing_is_handed_out_and_told(tmp_path: Path) -> None:
    failures, worker, shown = carried_out(tmp_path, {})
    assert failures == 0
    assert [job.spec.seed for job in worker.jobs] == [0, 1, 2, 3]
    assert "[4/4] bilora · pocket-math · seed 3" in shown
    again, worker, shown = carried_out(tmp_path, {})
    assert (again, worker.jobs) == (0, [])
    assert "4 of 4 runs are finished already and kept" in shown


def test_a_failed_run_is_said_in_the_worker_s_words_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "run x failed (train): diverged; details in y"
    failures, worker, _ = carried_out(tmp_path, {1: lambda job: Answer(outcome="failed", line=line)})
    assert failures == 1
    assert len(worker.jobs) == 4
    assert line in capsys.readouterr().err


def test_a_run_that_kills_its_workers_is_noted_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoints" / SPECS[2].key).mkdir(parents=True)
    failures, worker, _ = carried_out(tmp_path, {2: lose})
    assert failures == 1
    assert [job.spec.seed for job in worker.jobs].count(2) == 3
    noted = json.loads((tmp_path / "failed" / f"{SPECS[2].key}.json").read_text())
    assert noted["stage"] == "worker"
    assert noted["message"] == "3 workers were lost on it; the last one was ended by SIGKILL"
    assert not (tmp_path / "checkpoints" / SPECS[2].key).exists()
    errors = capsys.readouterr().err
    assert f"worker 0 was lost: it was ended by SIGKILL; run {SPECS[2].key} is tried again" in errors
    assert f"run {SPECS[2].key} failed (worker): 3 workers were lost on it" in errors


def test_a_full_disk_stops_the_grid(tmp_path: Path) -> None:
    full = {1: lambda job: Answer(outcome="storage", line="the disk is full")}
    with pytest.raises(StorageError, match=f"run {SPECS[1].key} is not finished: the disk is full"):
        carried_out(tmp_path, full)
    assert not (tmp_path / "failed").exists()


def test_leaving_removes_what_was_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(job: Job) -> Answer:
        # As a killed process leaves it: a folder of another writer, and a lock that nobody holds.
        (job.store / "runs" / f".unfinished-{job.spec.key}@elsewhere-1").mkdir(parents=True)
        (job.store / "locks").mkdir(exist_ok=True)
        (job.store / "locks" / job.spec.key).write_text("process 1 on elsewhere\n")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_GONE_WITHIN", 1.0)
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path, {1: interrupted})
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [SPECS[0].key]
    assert not list((tmp_path / "locks").iterdir())


def test_what_another_machine_finished_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    original = RunStore.is_complete

    def late(store: RunStore, key: str) -> bool:
        looks.append(key)
        return original(store, key) and looks.count(key) > 3

    monkeypatch.setattr(RunStore, "is_complete", late)
    assert carried_out(tmp_path, {}, SPECS[:1])[0] == 0
    assert looks.count(SPECS[0].key) > 3


def test_the_share_of_the_time_at_work_is_said(tmp_path: Path) -> None:
    store, shown = RunStore(tmp_path), io.StringIO()
    store.create()
    workers = [StandIn({}), StandIn({})]
    workers[1].number = 1
    with Grid(workers) as grid:
        grid.run_all(SPECS, model_folders={SPEC.model: Path("m")}, store=store, console=Console(file=shown, width=200))
    # Four runs of 10 s, one after the other by their own clocks, on two workers.
    assert "2 workers had a run at work 50.0 % of 40 s" in shown.getvalue()
    assert len(grid.spans) == 4
