"""Workers as seen from outside: a stand-in for the worker's process answers lines, or dies."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import workers
from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore

STAND_IN = """
import json, os, sys
folder, threads = sys.argv[1:]
for line in sys.stdin:
    spec = json.loads(line)["spec"]
    with open(f"{folder}/done", "a") as file:
        file.write(f"{spec['seed']} {os.getpid()} {threads} {os.environ['OMP_NUM_THREADS']} {os.getsid(0)}\\n")
    if spec["seed"] == 1:
        os.kill(os.getpid(), 9)
    print(json.dumps({"key": "k", "failures": 0}), flush=True)
"""


@pytest.fixture
def specs() -> list[RunSpec]:
    spec = plan_runs(CompareSettings(methods=("lora",), device="cpu"))[0][0]
    return [replace(spec, seed=seed) for seed in range(4)]


def test_a_worker_that_dies_takes_one_run_with_it(
    specs: list[RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.py").write_text(STAND_IN)
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, str(tmp_path / "worker.py")))
    told: dict[int, str | None] = {}
    workers.carry_out(
        specs,
        folders={spec.model: tmp_path for spec in specs},
        store=RunStore(tmp_path),
        workers=1,
        threads=3,
        finished=lambda spec, seconds, failure: told.update({spec.seed: failure}),
    )
    failure = told.pop(1)
    assert failure is not None
    assert failure.startswith("its process ended with exit code -9; see ")
    assert told == {0: None, 2: None, 3: None}
    noted = json.loads((tmp_path / "failed" / f"{specs[1].key}.json").read_text())
    assert (noted["stage"], noted["message"]) == ("worker", "its process ended with exit code -9")
    lines = [line.split() for line in (tmp_path / "done").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "2", "3"]
    assert lines[0][1] == lines[1][1] != lines[2][1] == lines[3][1]  # one process until it died, one after
    assert {tuple(line[2:4]) for line in lines} == {("3", "3")}
    assert all(line[4] == line[1] for line in lines)  # out of reach of the signals to the command's group


SLOW = """
import json, os, sys, time
for line in sys.stdin:
    with open(f"{sys.argv[1]}/started", "a") as file:
        file.write(f"{os.getpid()}\\n")
    if json.loads(line)["spec"]["seed"]:
        time.sleep(60)
    print(json.dumps({"key": "k", "failures": 0}), flush=True)
"""


def test_an_interrupted_caller_leaves_no_process_and_starts_none(
    specs: list[RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.py").write_text(SLOW)
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, str(tmp_path / "worker.py")))

    def started() -> list[str]:
        return (tmp_path / "started").read_text().split()

    def interrupted(spec: RunSpec, seconds: float, failure: str | None) -> None:
        while len(started()) < 3:  # until both are at work on a long run
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.carry_out(
            specs,
            folders={specs[0].model: tmp_path},
            store=RunStore(tmp_path),
            workers=2,
            threads=1,
            finished=interrupted,
        )
    time.sleep(0.3)  # what would start another run for the one that was cut off has had its chance
    assert len(started()) == 3
    assert not any(Path(f"/proc/{process}").exists() for process in started())
    assert not (tmp_path / "failed").exists()
