from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.executors import dispatch as module
from benchmarks.executors.dispatch import Event, WorkerLost, dispatch
from benchmarks.executors.job import Answer, Job
from benchmarks.executors.schedule import LIMIT, RunQueue
from tests.benchmarks.test_spec import SPEC


class StandIn:
    """A worker that does as it is told for a run, by its number."""

    def __init__(self, number: int, does: Callable[[int, int], Answer], *, starts: int = 1000) -> None:
        self.number, self.name = number, f"worker {number}"
        self._does, self._starts = does, starts
        self.stopped = False

    def start(self, wanted: Callable[[], bool]) -> bool:
        if self._starts <= 0:
            raise WorkerLost("has no libraries")
        return wanted()

    def carry_out(self, job: Job) -> Answer:
        return self._does(self.number, int(job.store.name))

    def stop(self) -> None:
        self.stopped = True


def jobs(count: int) -> list[Job]:
    policy = CheckpointPolicy()
    return [Job(spec=SPEC, model_folder=Path("m"), store=Path(str(n)), policy=policy) for n in range(count)]


def finished(worker: int, index: int) -> Answer:
    return Answer(outcome="finished", began=1.0, ended=2.0)


def carried_out(count: int, workers: list[StandIn]) -> tuple[list[Event], frozenset[int]]:
    events: list[Event] = []
    left = dispatch(jobs(count), runs=RunQueue([1.0] * count), workers=workers, told=events.append)
    return events, left


def indices(events: list[Event], kind: str) -> list[int]:
    return [event.index for event in events if event.kind == kind]


def test_every_run_is_answered_once() -> None:
    events, left = carried_out(20, [StandIn(n, finished) for n in range(4)])
    assert sorted(indices(events, "answered")) == sorted(indices(events, "began")) == list(range(20))
    assert not left


def test_a_run_whose_worker_dies_goes_to_another_one() -> None:
    both_at_work = threading.Barrier(2, timeout=30)
    tried: list[int] = []

    def does(worker: int, index: int) -> Answer:
        if index < 2:
            both_at_work.wait()
        if index == 2:
            tried.append(worker)
            if len(tried) == 1:
                raise WorkerLost("was ended by SIGKILL")
        return finished(worker, index)

    events, left = carried_out(4, [StandIn(n, does) for n in range(2)])
    assert len(set(tried)) == len(tried) == 2
    lost = [(event.index, event.worker, event.reason, event.again) for event in events if event.kind == "lost"]
    assert lost == [(2, tried[0], "was ended by SIGKILL", True)]
    assert sorted(indices(events, "answered")) == [0, 1, 2, 3]
    assert not left


def test_a_run_that_kills_every_worker_is_given_up_and_the_others_are_done() -> None:
    def does(worker: int, index: int) -> Answer:
        if index == 0:
            raise WorkerLost("was ended by SIGSEGV")
        return finished(worker, index)

    events, left = carried_out(3, [StandIn(n, does) for n in range(2)])
    lost = [event.again for event in events if event.kind == "lost"]
    assert lost == [True] * (LIMIT - 1) + [False]
    assert sorted(indices(events, "answered")) == [1, 2]
    assert not left


def test_a_worker_that_never_starts_is_given_up_and_the_others_go_on() -> None:
    events, left = carried_out(3, [StandIn(0, finished), StandIn(1, finished, starts=0)])
    assert sorted(indices(events, "answered")) == [0, 1, 2]
    assert not left
    assert {event.reason for event in events if event.kind == "given up"} <= {"has no libraries"}


def test_runs_are_left_where_no_worker_starts() -> None:
    events, left = carried_out(2, [StandIn(0, finished, starts=0)])
    assert [event.kind for event in events] == ["given up"]
    assert left == {0, 1}


def test_a_run_of_another_command_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.01)
    monkeypatch.setattr(module, "TICK", 0.01)
    looks: list[int] = []

    def does(worker: int, index: int) -> Answer:
        looks.append(index)
        elsewhere = index == 0 and looks.count(0) < 3
        return Answer(outcome="elsewhere", line="process 1") if elsewhere else finished(worker, index)

    events, left = carried_out(2, [StandIn(0, does)])
    assert looks == [0, 1, 0, 0]
    assert not left
    outcomes = [event.answer.outcome for event in events if event.answer]
    assert outcomes == ["elsewhere", "finished", "elsewhere", "finished"]


def test_what_failed_elsewhere_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.01)
    monkeypatch.setattr(module, "TICK", 0.01)
    looks: list[int] = []

    def does(worker: int, index: int) -> Answer:
        looks.append(index)
        return Answer(outcome="elsewhere")

    events: list[Event] = []
    dispatch(
        jobs(1),
        runs=RunQueue([1.0]),
        workers=[StandIn(0, does)],
        told=events.append,
        failed_elsewhere=lambda index: len(looks) == 2,
    )
    assert looks == [0, 0]
    assert events[-1].answer == Answer(outcome="failed")


def test_whatever_the_caller_raises_stops_all_workers() -> None:
    def told(event: Event) -> None:
        raise KeyboardInterrupt

    workers = [StandIn(n, finished) for n in range(2)]
    with pytest.raises(KeyboardInterrupt):
        dispatch(jobs(4), runs=RunQueue([1.0] * 4), workers=workers, told=told)
    assert all(worker.stopped for worker in workers)


def test_an_unexpected_error_of_a_thread_reaches_the_caller() -> None:
    def does(worker: int, index: int) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        carried_out(2, [StandIn(0, does)])
