from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.executors.local import local_workers, visible_gpus, worker_count


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_worker_has_a_gpu_of_its_own(gpus: None, tmp_path: Path) -> None:
    assert worker_count("cuda", None) == 4
    found = local_workers(device="cuda", workers=4, threads=None, logs=tmp_path)
    assert [worker._gpu for worker in found] == ["0", "1", "2", "3"]
    assert [worker.name for worker in found][:1] == ["worker 0 (GPU 0)"]


def test_gpus_that_are_hidden_stay_so(gpus: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert visible_gpus() == ["6", "2"]
    found = local_workers(device="cuda", workers=worker_count("cuda", None), threads=2, logs=tmp_path)
    assert [(worker._gpu, worker._threads) for worker in found] == [("6", 2), ("2", 2)]


def test_more_workers_than_gpus_are_refused_where_runs_are_timed_and_share_where_they_are_not(
    gpus: None, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--workers: found 5, and there are 4 GPUs here"):
        worker_count("cuda", 5)
    found = local_workers(device="cuda", workers=6, threads=1, logs=tmp_path, share=True)
    assert [worker._gpu for worker in found] == ["0", "1", "2", "3", "0", "1"]


def test_a_cpu_has_one_process_unless_more_are_asked_for_and_they_divide_its_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert worker_count("cpu", None) == 1
    assert worker_count("cpu", 3) == 3
    found = local_workers(device="cpu", workers=3, threads=None, logs=tmp_path)
    assert [(worker._gpu, worker._threads) for worker in found] == [(None, 2)] * 3
