"""Carries out the runs of a store in several processes, each with its own threads and its own memory.

A run that fails is noted by its worker and the others go on; a worker that dies (killed for memory, a crash in a
kernel) takes one run with it, which is noted as failed, and is started again for the next. Finished runs are in the
store at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from benchmarks.spec import RunSpec
from benchmarks.store import RunStore

COMMAND = (sys.executable, "-m", "benchmarks.claims.worker")
Finished = Callable[[RunSpec, float, str | None], None]
"""`finished(spec, seconds, failure)`: called in the caller's thread after every run."""


class _Stopped(Exception):
    """The command is being left: nothing is started or noted any more."""


class _Worker:
    """One process, started when it is first needed."""

    def __init__(self, number: int, store: RunStore, threads: int) -> None:
        self._store = store
        self._threads = threads
        self._log = store.folder / "workers" / f"{number}.log"
        self._process: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()
        self._stopped = False

    def carry_out(self, spec: RunSpec, model_folder: Path) -> str | None:
        """Return why a run failed, or None."""
        process = self._started()
        given = json.dumps({"spec": spec.as_dict(), "model_folder": str(model_folder.absolute())})
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            _pipe(process.stdin).write(given + "\n")
            _pipe(process.stdin).flush()
            answer = _pipe(process.stdout).readline()
        if not answer:
            if self._stopped:
                raise _Stopped
            message = f"its process ended with exit code {process.wait()}"
            self._close()
            self._store.record_failure(spec, stage="worker", message=message, details=f"see {self._log}")
            return f"{message}; see {self._log}"
        if json.loads(answer)["failures"] == 0:
            return None
        if self._store.is_complete(spec.key):
            return f"not measured: {self._store.problem(spec.key)}"
        record = json.loads((self._store.failed / f"{spec.key}.json").read_text())
        return f"{record['stage']}: {record['message']}"

    def _started(self) -> subprocess.Popen[str]:
        with self._starting:
            if self._stopped:
                raise _Stopped
            if self._process is None:
                self._process = self._start()
            return self._process

    def _start(self) -> subprocess.Popen[str]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        count = str(self._threads)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
        with self._log.open("a") as log:
            return subprocess.Popen(
                [*COMMAND, str(self._store.folder), count],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **limits},
                # A signal to the command's group (Ctrl-C, a time limit) is the command's to answer: a worker that died
                # of it first would be noted as a failed run.
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the process, at once if it is at work, and start no other."""
        with self._starting:
            self._stopped = True
            self._close()

    def _close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    _pipe(pipe).close()
            self._process = None


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def carry_out(
    specs: Sequence[RunSpec],
    *,
    folders: Mapping[str, Path],
    store: RunStore,
    workers: int,
    threads: int,
    finished: Finished,
) -> None:
    """Carry out runs, `workers` at a time, in their order.

    Args:
        specs: What to run; none of them is finished.
        folders: Folder of every base model, by name.
        store: Where they are kept.
        workers: Processes at once.
        threads: CPU threads of each.
        finished: Told of every run.
    """
    waiting: queue.SimpleQueue[RunSpec] = queue.SimpleQueue()
    for spec in specs:
        waiting.put(spec)
    done: queue.SimpleQueue[tuple[RunSpec, float, str | None] | Exception] = queue.SimpleQueue()
    processes = [_Worker(number, store, threads) for number in range(min(workers, len(specs)))]

    def attend(worker: _Worker) -> None:
        try:
            while True:
                spec = waiting.get_nowait()
                started = time.perf_counter()
                failure = worker.carry_out(spec, folders[spec.model])
                done.put((spec, time.perf_counter() - started, failure))
        except (queue.Empty, _Stopped):
            pass
        except Exception as error:
            # Left alone in its thread, the caller would wait for ever.
            done.put(error)

    for worker in processes:
        threading.Thread(target=attend, args=(worker,), daemon=True).start()
    try:
        for _ in specs:
            found = done.get()
            if isinstance(found, Exception):
                raise found
            finished(*found)
    finally:
        for worker in processes:
            worker.stop()
