from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.dry_run import ComparisonPlan, PlannedRuns
from benchmarks.estimates import Estimate
from benchmarks.executors.plan_lines import executor_sentences, plan_grid
from benchmarks.request import Comparison
from benchmarks.settings import CompareSettings


def plan(*hours: float | None, seeds: int = 4, finished: int = 0, **settings: object) -> ComparisonPlan:
    runs = tuple(
        PlannedRuns(
            task="pocket-math",
            label=f"method {number}",
            seeds=seeds,
            steps=3600,
            passes=1,
            finished=finished,
            estimate=None if each is None else Estimate(seconds=each, bytes=None, basis=()),
        )
        for number, each in enumerate(hours)
    )
    comparison = Comparison(settings=replace(CompareSettings(device="cpu"), **settings))  # type: ignore[arg-type]
    return ComparisonPlan(comparison=comparison, runs=runs, models=(), missing=(), unknown="", tokens=())


def test_equal_runs_go_in_waves() -> None:
    found = plan_grid(plan(2.0, seeds=10), 4)
    assert (found.runs, found.waves, found.workers) == (10, 3, 4)
    assert (found.hours, found.total_hours) == (pytest.approx(6.0), pytest.approx(20.0))


def test_the_longest_go_first_and_finished_ones_do_not_go() -> None:
    found = plan_grid(plan(3.0, 1.0, seeds=3, finished=2), 2)  # a run of 3 h and one of 1 h are left
    assert (found.runs, found.hours, found.total_hours) == (2, pytest.approx(3.0), pytest.approx(4.0))
    assert plan_grid(plan(3.0, seeds=2, finished=2), 2).runs == 0


def test_runs_without_an_estimate_are_counted_and_not_timed() -> None:
    lines = executor_sentences([plan(2.0, None, seeds=2, executor="local", workers=2)], "GPU hours")
    assert lines == [
        "2 processes, sharing the CPU's cores: 4 runs in 2 waves of 2, about 2.0 h from the first to the last for the "
        "2 of them that have an estimate, 4.0 GPU hours"
    ]
    assert executor_sentences([plan(None, seeds=2)], "") == [
        "this process, one run after the other: 2 runs in 2 waves; no estimate of the time"
    ]


def test_tuning_is_a_grid_of_its_own_before_the_final_runs() -> None:
    (line,) = executor_sentences([plan(1.0, seeds=4, executor="local", workers=2, tune=6)], "h")
    assert (
        "6 trials in 3 waves of 2, about 3.0 h from the first to the last, 6.0 h; then 4 final runs in 2 waves" in line
    )


def test_a_cluster_of_unknown_size_is_planned_for_several_up_to_one_for_all() -> None:
    lines = executor_sentences([plan(1.0, seeds=20, executor="ray")], "GPU hours")
    assert [line.split(":")[0] for line in lines] == [
        f"a Ray cluster with room for {size} at once" for size in (1, 8, 64)
    ]
    assert "20 runs in 3 waves of 8, about 3.0 h from the first to the last, 20.0 GPU hours" in lines[1]
    (line,) = executor_sentences([plan(1.0, seeds=20, executor="ray", workers=10)], "GPU hours")
    assert line.startswith("10 workers of a Ray cluster: 20 runs in 2 waves of 10, about 2.0 h")


def test_idle_gpus_of_this_machine_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert executor_sentences([plan(1.0, device="auto")], "h")[1:] == [
        "this machine has 2 GPUs: --executor local would use them all, one run on each"
    ]
    assert len(executor_sentences([plan(1.0, device="cpu")], "h")) == 1
    (line,) = executor_sentences([plan(1.0, device="auto", executor="local")], "h")
    assert line.startswith("2 processes, each with a GPU of its own: 4 runs in 2 waves of 2")


def test_gpus_that_are_not_here_are_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    lines = executor_sentences([plan(1.0, seeds=4, device="cuda", executor="local")], "h")
    assert [line.split(":")[0] for line in lines] == [f"a machine with GPUs for {size}" for size in (1, 2, 4)]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = ["--dry-run", "--device", "cpu", "--out", str(tmp_path / "out"), "--seeds", "2"]
    assert compare.main([*asked, "--executor", "local", "--workers", "3"]) == 0
    assert "- 3 processes, sharing the CPU's cores: 6 runs in 2 waves of 3, about " in capsys.readouterr().out
    assert compare.main([*asked, "--workers", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: --workers: found 3, and this process")
    assert not (tmp_path / "out").exists()
