"""The simulation against closed forms, Graham's bound by exhaustive search, and what threads really do."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.executors.busy import Span
from benchmarks.executors.dispatch import dispatch
from benchmarks.executors.job import Answer, Job
from benchmarks.executors.schedule import RunQueue
from benchmarks.executors.simulation import Conditions, lower_bound, simulate
from tests.benchmarks.test_spec import SPEC


@pytest.mark.parametrize(("runs", "workers"), [(12, 4), (13, 4), (1, 3), (7, 7)])
def test_equal_runs_go_in_waves(runs: int, workers: int) -> None:
    went = simulate([5.0] * runs, [5.0] * runs, Conditions(workers=workers, start=(2.0, 2.0), pause=0.5))
    waves = math.ceil(runs / workers)
    assert went.seconds == pytest.approx(2.0 + 5.0 * waves + 0.5 * (waves - 1))
    assert went.idle_share == pytest.approx(1 - 5.0 * runs / (workers * went.seconds))


def test_one_worker_takes_the_sum() -> None:
    seconds = [3.0, 1.0, 4.0, 1.0, 5.0]
    went = simulate(seconds, seconds, Conditions(workers=1, pause=0.25))
    assert went.seconds == pytest.approx(sum(seconds) + 0.25 * 4)
    assert [span.key for span in went.spans] == ["4", "2", "0", "1", "3"]


def test_enough_workers_take_the_longest_run() -> None:
    seconds = [3.0, 1.0, 4.0]
    assert simulate(seconds, seconds, Conditions(workers=3)).seconds == 4.0 == lower_bound(seconds, 3)


def shortest(seconds: tuple[int, ...], workers: int) -> int:
    """Return the shortest possible time, by trying every assignment."""
    return min(
        max(sum(s for s, w in zip(seconds, chosen, strict=True) if w == worker) for worker in range(workers))
        for chosen in itertools.product(range(workers), repeat=len(seconds))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=7), st.integers(2, 3))
def test_longest_first_is_within_grahams_bound(seconds: list[int], workers: int) -> None:
    lengths = [float(s) for s in seconds]
    went = simulate(lengths, lengths, Conditions(workers=workers)).seconds
    best = shortest(tuple(seconds), workers)
    assert lower_bound(lengths, workers) <= best <= went <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9


def test_grahams_worst_case_is_reached() -> None:
    # Two workers, 3 3 2 2 2: longest first takes 7, and 6 is possible.
    seconds = [3.0, 3.0, 2.0, 2.0, 2.0]
    assert simulate(seconds, seconds, Conditions(workers=2)).seconds == 7.0
    assert shortest((3, 3, 2, 2, 2), 2) == 6


def test_workers_are_lost_at_their_rate_and_their_work_is_done_again() -> None:
    hours, rate = 2000, 0.5
    seconds = [3600.0] * hours
    conditions = Conditions(workers=20, losses_per_hour=rate, restart=60.0, checkpoint=600.0)
    went = simulate(seconds, seconds, conditions, families=[0] * hours)
    at_work = sum(span.ended - span.began for span in went.spans)
    # As many as a Poisson process has in the time at work, within four standard deviations.
    expected = rate * at_work / 3600
    assert abs(went.losses - expected) < 4 * math.sqrt(expected)
    given_up = {span.key for span in went.spans} - {s.key for s in went.spans if s.outcome == "finished"}
    assert len(given_up) == went.given_up
    # Since a checkpoint half an interval is lost in the mean.
    assert went.repeated_seconds / went.losses == pytest.approx(300, rel=0.1)
    lost = [span for span in went.spans if span.outcome == "lost"]
    assert len(lost) == went.losses


def test_no_worker_has_two_runs_at_work_and_no_run_is_finished_twice() -> None:
    generator = np.random.default_rng(0)
    seconds = [float(s) for s in generator.uniform(1, 9, 200)]
    went = simulate(seconds, seconds, Conditions(workers=7, losses_per_hour=60.0, restart=2.0, start=(0.0, 5.0)))
    finished = [span.key for span in went.spans if span.outcome == "finished"]
    assert len(set(finished)) == len(finished) == 200 - went.given_up
    for worker in range(7):
        mine = sorted((span.began, span.ended) for span in went.spans if span.worker == worker)
        assert all(after[0] >= before[1] for before, after in itertools.pairwise(mine))


class Replaying:
    """Workers whose runs end when the test says so: in the order of a simulation."""

    def __init__(self, spans: tuple[Span, ...]) -> None:
        self.began: list[str] = []
        self.changed = threading.Condition()
        self.ending = [span.key for span in sorted(spans, key=lambda span: span.ended)]

    def worker(self, number: int) -> ReplayingWorker:
        return ReplayingWorker(number, self)


class ReplayingWorker:
    def __init__(self, number: int, replaying: Replaying) -> None:
        self.number = number
        self.name = f"worker {number}"
        self._all = replaying

    def start(self, wanted: Callable[[], bool]) -> bool:
        return True

    def carry_out(self, job: Job) -> Answer:
        key = job.model_folder.name
        with self._all.changed:
            self._all.began.append(key)
            self._all.changed.notify_all()
            # The next one is freed when its worker has taken another run, if there is any.
            assert self._all.changed.wait_for(lambda: self._all.ending[0] == key, timeout=30)
        return Answer(outcome="finished", began=0.0, ended=float(job.store.name))

    def stop(self) -> None:
        raise AssertionError("nothing is left early here")


def test_the_executor_takes_runs_in_the_order_of_the_simulation() -> None:
    generator = np.random.default_rng(1)
    seconds = [float(s) for s in generator.uniform(1, 9, 24)]
    guesses = [float(s) for s in generator.uniform(1, 9, 6)] * 4
    families, workers = list(range(6)) * 4, 3
    went = simulate(guesses, seconds, Conditions(workers=workers), families=families)
    replaying = Replaying(went.spans)
    policy = CheckpointPolicy()
    jobs = [Job(spec=SPEC, model_folder=Path(str(n)), store=Path(str(seconds[n])), policy=policy) for n in range(24)]
    settled = []

    def told(event: object) -> None:
        if getattr(event, "kind", None) != "answered":
            return
        settled.append(event)
        # Everyone who can has a run again before the next one ends.
        with replaying.changed:
            wanted = min(24, workers + len(settled))
            assert replaying.changed.wait_for(lambda: len(replaying.began) >= wanted, timeout=30)
            replaying.ending.pop(0)
            replaying.ending.append("")
            replaying.changed.notify_all()

    left = dispatch(
        jobs,
        runs=RunQueue(guesses, families=families),
        workers=[replaying.worker(n) for n in range(workers)],
        told=told,
    )
    assert not left
    simulated = [span.key for span in went.spans]
    assert set(replaying.began[:workers]) == set(simulated[:workers])
    assert replaying.began[workers:] == simulated[workers:]
