"""Workers on this machine: one process for each GPU, or processes that divide the CPU's cores among them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from benchmarks.errors import UsageError
from benchmarks.executors.processes import ProcessWorker


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [str(number) for number in range(count)] if named is None else named.split(",")
    return found[:count]


def worker_count(device: str, workers: int | None) -> int:
    """Return how many runs are carried out at once.

    Args:
        device: "cpu" or "cuda".
        workers: What was asked for, or None.

    Raises:
        UsageError: If there are fewer GPUs.
    """
    if device != "cuda":
        return workers or 1
    gpus = len(visible_gpus())
    if workers is not None and workers > gpus:
        raise UsageError(
            f"--workers: found {workers}, and there {'is 1 GPU' if gpus == 1 else f'are {gpus} GPUs'} here; runs that "
            f"share a GPU are timed wrongly: at most {gpus}, or none for one on each"
        )
    return workers or gpus


def local_workers(
    *, device: str, workers: int, threads: int | None, logs: Path, share: bool = False
) -> list[ProcessWorker]:
    """Return workers that are not started yet.

    Args:
        device: "cpu" or "cuda".
        workers: How many.
        threads: CPU threads of each; None divides the cores among them.
        logs: Folder for what they print.
        share: Whether a GPU may have several workers, where there are more of these.
    """
    each = threads or max(1, (os.cpu_count() or 1) // workers)
    gpus: list[str | None] = [*visible_gpus()] if device == "cuda" else []
    if not gpus:
        gpus = [None]
    elif not share:
        gpus = gpus[:workers]
    return [
        ProcessWorker(number, threads=each, gpu=gpus[number % len(gpus)], log=logs / f"{number}.log")
        for number in range(workers)
    ]
