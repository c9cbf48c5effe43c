from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.executors import check_executor, open_executor
from benchmarks.executors.choice import Inline
from benchmarks.executors.grid import Grid
from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings

SETTINGS = CompareSettings(device="cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers": 2}, "--workers: found 2, and this process carries out one run at a time; add --executor local"),
        ({"executor": "local", "ray_address": "h:1"}, "--ray-address: is for --executor ray, found local"),
        ({"executor": "local", "device_map": "auto"}, "--device-map: spreads a model over all GPUs"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_executor(replace(SETTINGS, **changes), "cpu")  # type: ignore[arg-type]


def test_a_launcher_s_ranks_are_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_executor(SETTINGS, "cpu")
    with pytest.raises(UsageError, match="--executor: local gives every run a worker of its own"):
        check_executor(replace(SETTINGS, executor="local"), "cpu")


def test_ray_that_is_not_installed_is_refused_by_the_name_of_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.executors.ray_cluster.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"ray is not installed; pip install 'bilora\[ray\]'"):
        check_executor(replace(SETTINGS, executor="ray"), "cpu")


def test_by_default_runs_are_this_process_s(tmp_path: Path) -> None:
    assert isinstance(open_executor(SETTINGS, "cpu", []), Inline)
    with open_executor(replace(SETTINGS, executor="local", workers=2, out=tmp_path), "cpu", []) as grid:
        assert isinstance(grid, Grid)
        assert len(grid.workers) == 2


def test_who_carries_a_run_out_is_no_part_of_it() -> None:
    keys = [
        spec.key
        for executor in ("inline", "local", "ray")
        for spec in plan_runs(replace(SETTINGS, executor=executor, methods=("lora",)))[0]
    ]
    assert len(set(keys)) == 1


def test_gpus_of_a_cluster_need_not_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="torch sees no CUDA device"):
        plan_runs(replace(SETTINGS, device="cuda"))
    assert plan_runs(replace(SETTINGS, device="cuda", executor="ray"))[0][0].device == "cuda"
