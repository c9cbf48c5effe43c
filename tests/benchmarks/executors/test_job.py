from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import execution
from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.execution import Attempt
from benchmarks.executors.job import Answer, Job, do
from benchmarks.storage import StorageError
from tests.benchmarks.test_spec import SPEC

JOB = Job(spec=SPEC, model_folder=Path("/m"), store=Path("/s"), policy=CheckpointPolicy(steps=3, seconds=None))


def test_a_job_survives_a_line_of_json_with_its_key() -> None:
    read = Job.of(json.loads(json.dumps(JOB.as_dict())))
    assert read == JOB
    assert read.spec.key == SPEC.key


def test_relative_folders_hold_in_another_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job(spec=SPEC, model_folder=Path("m"), store=Path("s"), policy=CheckpointPolicy())
    assert Job.of(job.as_dict()).store == tmp_path / "s"


def test_the_answer_says_how_it_went_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "attempt", lambda *_, **__: Attempt(outcome="failed", line="why"))
    answer = do(JOB)
    assert (answer.outcome, answer.line) == ("failed", "why")
    assert answer.began < answer.ended
    assert Answer(**json.loads(json.dumps(answer.as_dict()))) == answer


def test_a_run_that_was_found_finished_took_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "attempt", lambda *_, **__: Attempt(outcome="finished", done=False))
    answer = do(JOB)
    assert answer.outcome == "finished"
    assert answer.began == answer.ended > 0


def test_a_store_that_cannot_be_written_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(*_: object, **__: object) -> Attempt:
        raise StorageError("full")

    monkeypatch.setattr(execution, "attempt", attempt)
    assert (do(JOB).outcome, do(JOB).line) == ("storage", "full")
