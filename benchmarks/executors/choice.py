"""What `--executor` means, and what of it is refused before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from rich.console import Console

from benchmarks import execution, ranks
from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.errors import UsageError
from benchmarks.executors.local import local_workers, worker_count
from benchmarks.executors.ray_cluster import check_installed
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.store import RunStore


class Executor(Protocol):
    """What carries out lists of runs; it is left with its block."""

    def run_all(
        self,
        specs: Sequence[RunSpec],
        *,
        model_folders: Mapping[str, Path],
        store: RunStore,
        console: Console,
        policy: CheckpointPolicy | None = None,
    ) -> int:
        """Carry out what is missing; see `benchmarks.execution.run_all`."""

    def __enter__(self) -> Self:
        """Use it."""

    def __exit__(self, *_: object) -> None:
        """End its workers."""


class Inline:
    """This process, and with it all ranks of a launcher."""

    run_all = staticmethod(execution.run_all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def check_executor(settings: CompareSettings, device: str) -> None:
    """Refuse settings that do not go with an executor.

    Args:
        settings: Of the comparison.
        device: Of its runs, "cpu" or "cuda".

    Raises:
        UsageError: Naming the flag to change.
    """
    if settings.ray_address is not None and settings.executor != "ray":
        raise UsageError(f"--ray-address: is for --executor ray, found {settings.executor}; change one of the two")
    if settings.executor == "inline":
        if settings.workers is not None:
            raise UsageError(
                f"--workers: found {settings.workers}, and this process carries out one run at a time; add --executor "
                "local or ray, or leave it off"
            )
        return
    if ranks.world_size() > 1:
        raise UsageError(
            f"--executor: {settings.executor} gives every run a worker of its own, and under a launcher all ranks "
            "share each run; leave one of the two out"
        )
    if settings.device_map is not None:
        raise UsageError(
            f"--device-map: spreads a model over all GPUs, and a worker of --executor {settings.executor} has one; "
            "leave one of the two out"
        )
    if settings.executor == "ray":
        check_installed()
    else:
        worker_count(device, settings.workers)


def open_executor(settings: CompareSettings, device: str, folders: Sequence[Path]) -> Executor:
    """Return the executor that settings ask for; `check_executor` has been asked before.

    Args:
        settings: Of the comparison; its output folder is there.
        device: Of its runs, "cpu" or "cuda".
        folders: Of the base models.

    Raises:
        UsageError: If a cluster cannot be reached or used.
    """
    if settings.executor == "inline":
        return Inline()
    if settings.executor == "local":
        from benchmarks.executors.grid import Grid

        count = worker_count(device, settings.workers)
        return Grid(
            local_workers(device=device, workers=count, threads=settings.threads, logs=settings.out / "workers")
        )
    from benchmarks.executors.ray_workers import RayGrid

    return RayGrid(
        address=settings.ray_address,
        device=device,
        workers=settings.workers,
        threads=settings.threads or 1,
        out=settings.out,
        folders=folders,
    )
