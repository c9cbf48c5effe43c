"""Workers as seen from outside: a stand-in for the worker's process answers lines, or dies."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.executors import processes
from benchmarks.executors.dispatch import Stopped, WorkerLost
from benchmarks.executors.job import Answer, Job
from benchmarks.executors.processes import ProcessWorker
from tests.benchmarks.test_spec import SPEC

STAND_IN = """
import json, os, signal, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    what = os.path.basename(job["store"])
    if what == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "end":
        sys.exit(3)
    if what == "sleep":
        time.sleep(60)
    shown = [os.getpid(), sys.argv[1], os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES"),
             os.getsid(0)]
    print(json.dumps({"outcome": "finished", "line": repr(shown), "began": 1.0, "ended": 2.0}), flush=True)
"""


def always() -> bool:
    return True


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ProcessWorker]]:
    (tmp_path / "worker.py").write_text(STAND_IN)
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, str(tmp_path / "worker.py")))
    made = []

    def make(gpu: str | None = None) -> ProcessWorker:
        made.append(ProcessWorker(len(made), threads=3, gpu=gpu, log=tmp_path / "logs" / "0.log"))
        return made[-1]

    yield make
    for found in made:
        found.stop()


def job(what: str) -> Job:
    return Job(spec=SPEC, model_folder=Path("model"), store=Path(what), policy=CheckpointPolicy())


def test_one_process_answers_all_jobs_with_its_threads_and_its_gpu(worker: Callable[..., ProcessWorker]) -> None:
    one = worker(gpu="5")
    assert one.start(always)
    answers = [one.carry_out(job("run")), one.carry_out(job("run"))]
    assert answers[0] == answers[1] == Answer(outcome="finished", line=answers[0].line, began=1.0, ended=2.0)
    process, threads, limit, gpu, session = eval(answers[0].line)
    assert (threads, limit, gpu) == ("3", "3", "5")
    assert session == process  # out of reach of the signals to the command's group


@pytest.mark.parametrize(("what", "how"), [("die", "was ended by SIGSEGV"), ("end", "ended with exit code 3")])
def test_a_worker_that_dies_says_how_and_is_started_again(
    worker: Callable[..., ProcessWorker], what: str, how: str
) -> None:
    one = worker()
    one.start(always)
    with pytest.raises(WorkerLost, match=rf"{how}; its output is in .*0\.log"):
        one.carry_out(job(what))
    one.start(always)
    assert one.carry_out(job("run")).outcome == "finished"


def test_a_worker_that_cannot_start_is_lost(
    worker: Callable[..., ProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(WorkerLost, match="ended with exit code 7"):
        worker().start(always)


def test_stopping_ends_a_process_at_work_and_starts_no_other(worker: Callable[..., ProcessWorker]) -> None:
    one = worker()
    one.start(always)
    threading.Timer(0.3, one.stop).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        one.carry_out(job("sleep"))
    assert time.monotonic() - began < 30
    with pytest.raises(Stopped):
        one.start(always)
