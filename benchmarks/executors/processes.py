"""A worker that is a process of this machine, with its own threads, its own memory, and one GPU if there are any."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from benchmarks.executors.dispatch import Stopped, WorkerLost
from benchmarks.executors.job import Answer, Job

COMMAND = (sys.executable, "-m", "benchmarks.executors.worker")


class ProcessWorker:
    """One process, started when it is first needed and kept for all of its runs.

    Args:
        number: Its number among the workers, from 0.
        threads: CPU threads.
        gpu: The only GPU that it sees, as CUDA_VISIBLE_DEVICES names it; None leaves that as it is.
        log: File that its standard error is added to.
    """

    def __init__(self, number: int, *, threads: int, gpu: str | None, log: Path) -> None:
        self.number = number
        self.name = f"worker {number}" if gpu is None else f"worker {number} (GPU {gpu})"
        self._threads = threads
        self._gpu = gpu
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()
        self._stopped = False

    def start(self, wanted: Callable[[], bool]) -> bool:
        """Start the process and wait until its libraries are loaded; returns whether it is ready.

        Raises:
            WorkerLost: If it ends before it is.
            Stopped: If it was stopped.
        """
        with self._starting:
            if self._stopped:
                raise Stopped
            if self._process is not None:
                return True
            process = self._process = self._open()
        self._read(process)
        return True

    def carry_out(self, job: Job) -> Answer:
        """Hand a job to the process and wait for its answer.

        Raises:
            WorkerLost: If it dies on it.
            Stopped: If it was stopped.
        """
        process = self._process
        if process is None:
            raise Stopped
        with contextlib.suppress(BrokenPipeError):
            _pipe(process.stdin).write(json.dumps(job.as_dict()) + "\n")
            _pipe(process.stdin).flush()
        return Answer(**self._read(process))

    def _read(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        with contextlib.suppress(ValueError):  # of a pipe that was closed meanwhile, or of half a line
            found: dict[str, Any] = json.loads(_pipe(process.stdout).readline())
            return found
        with self._starting:
            if self._stopped:
                raise Stopped
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            reason = _ending(process.poll())
            self._close()
        raise WorkerLost(f"{reason}; its output is in {self._log}")

    def _open(self) -> subprocess.Popen[str]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        count = str(self._threads)
        own = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
        if self._gpu is not None:
            own["CUDA_VISIBLE_DEVICES"] = self._gpu
        with self._log.open("a") as log:
            return subprocess.Popen(
                [*COMMAND, count],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **own},
                # A signal to the command's group (Ctrl-C, a time limit) is the command's to answer: a worker that died
                # of it first would be taken for one that was lost.
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the process with all that it has started, at once if it is at work, and start no other."""
        with self._starting:
            self._stopped = True
            self._close()

    def _close(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                _pipe(pipe).close()
        self._process = None


def _ending(code: int | None) -> str:
    """Say how a process ended, for a person."""
    if code is None:
        return "stopped answering"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (" (as the system does when memory is full)" if name == "SIGKILL" else "")


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
