"""A worker that is a Ray actor: a process on some node, with one GPU or some cores of it, kept for all of its runs.

An actor per worker, rather than a task for every run, because a fresh process would load its libraries before each. A
lost node takes its actors along; the worker asks Ray for another place and takes no run before it has one, so that a
cluster that shrinks or grows in the middle of a grid is used as it is. A node that cannot be reached any more may go
on with its run: the run's lock keeps others off it until it ends, or the file system has noticed that it is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.errors import UsageError
from benchmarks.executors.dispatch import Stopped, WorkerLost
from benchmarks.executors.grid import Grid
from benchmarks.executors.job import Answer, Job
from benchmarks.executors.ray_actor import RunActor
from benchmarks.executors.ray_cluster import check_folders, connect, places
from benchmarks.storage import storing
from benchmarks.written import PARTIAL, writer

#: Seconds from one look at whether an answer is still wanted to the next.
_LOOK = 1.0


class RayWorker:
    """One actor at a time.

    Args:
        number: Its number among the workers.
        ray: The module, connected.
        device: "cpu" or "cuda".
        threads: CPU threads.
        sees: What the actor must see: a token, what stands in it, and folders.
    """

    def __init__(
        self, number: int, *, ray: Any, device: str, threads: int, sees: tuple[Path, str, Sequence[Path]]
    ) -> None:
        self.number = number
        self.name = f"worker {number}"
        self._ray, self._threads, self._sees = ray, threads, sees
        self._options = {"num_gpus": int(device == "cuda"), "num_cpus": threads}
        self._actor: Any = None
        self._is_ready = False
        self._stopped = False

    def start(self, wanted: Callable[[], bool]) -> bool:
        """Wait for a place in the cluster, as long as it is wanted; returns whether it is ready.

        Raises:
            WorkerLost: If the actor dies, or does not see the driver's folders.
            Stopped: If it was stopped.
        """
        if self._is_ready:
            return True
        kind = self._ray.remote(RunActor).options(max_restarts=0, max_task_retries=0, **self._options)
        self._actor = kind.remote(self._threads, os.getcwd())
        token, content, folders = self._sees
        asked = self._actor.ready.remote(str(token), content, [str(folder) for folder in folders])
        found = self._await(asked, wanted)
        if found is None:
            self._kill()
            return False
        machine, missing = found
        if missing:
            self._kill()
            raise WorkerLost(f"does not see {missing[0]} on {machine}")
        self.name = f"worker {self.number} on {machine}"
        self._is_ready = True
        return True

    def carry_out(self, job: Job) -> Answer:
        """Hand a job to the actor and wait for its answer.

        Raises:
            WorkerLost: If it or its node dies on it.
            Stopped: If it was stopped.
        """
        answer = self._await(self._actor.carry_out.remote(job.as_dict()), lambda: True)
        return Answer(**answer)

    def _await(self, asked: Any, wanted: Callable[[], bool]) -> Any:
        """Return what an actor answers, or None if it is not wanted before it has come."""
        try:
            while not self._ray.wait([asked], timeout=_LOOK)[0]:
                if self._stopped:
                    raise Stopped
                if not wanted():
                    return None
            return self._ray.get(asked)
        except self._ray.exceptions.RayError as error:
            if self._stopped:
                raise Stopped from None
            self._kill()
            raised = isinstance(error, self._ray.exceptions.RayTaskError)
            raise WorkerLost(_reason(error, raised=raised)) from None

    def stop(self) -> None:
        """End the actor, at once if it is at work, and ask for no other."""
        self._stopped = True
        self._kill()

    def _kill(self) -> None:
        actor, self._actor, self._is_ready = self._actor, None, False
        if actor is not None:
            # It may be gone, and the cluster with it.
            with contextlib.suppress(self._ray.exceptions.RayError, RuntimeError, ValueError):
                self._ray.kill(actor)


def _reason(error: BaseException, *, raised: bool) -> str:
    """Say in one line how an actor was lost: by what it raised, which ends a traceback, or by what Ray says of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"raised {lines[-1][:200]}" if raised else f"is gone: {lines[0][:200]}"


def _all_places(ray: Any, device: str, threads: int) -> int:
    found = places(ray, device=device, threads=threads)
    if not found:
        lacking = "a GPU" if device == "cuda" else f"room for a run (--threads {threads})"
        raise UsageError(
            f"--workers: no node of the cluster has {lacking} now; give the number of workers that may wait for nodes"
        )
    return found


class RayGrid(Grid):
    """A grid on a Ray cluster, which is left when it is closed.

    Args:
        address: Of the cluster, or None; see `connect`.
        device: "cpu" or "cuda".
        workers: Runs at once; None for as many as the cluster has places.
        threads: CPU threads of each.
        out: Output folder, which all nodes share.
        folders: Of the base models.

    Raises:
        UsageError: If the cluster cannot be reached or used.
    """

    def __init__(
        self,
        *,
        address: str | None,
        device: str,
        workers: int | None,
        threads: int,
        out: Path,
        folders: Sequence[Path],
    ) -> None:
        self._ray = connect(address)
        self._token = out.absolute() / f".shared@{writer()}{PARTIAL}"
        content = uuid4().hex
        seen = [folder.absolute() for folder in folders]
        try:
            with storing(out):
                self._token.write_text(content)
            check_folders(self._ray, device=device, token=self._token, content=content, folders=seen)
            count = workers or _all_places(self._ray, device, threads)
        except BaseException:
            self._leave()
            raise
        super().__init__(
            [
                RayWorker(number, ray=self._ray, device=device, threads=threads, sees=(self._token, content, seen))
                for number in range(count)
            ]
        )

    def close(self) -> None:
        """End the workers and leave the cluster."""
        super().close()
        self._leave()

    def _leave(self) -> None:
        self._token.unlink(missing_ok=True)
        self._ray.shutdown()
