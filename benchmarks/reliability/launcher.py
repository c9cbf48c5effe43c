"""Starts commands in processes of their own, forked from one that has loaded the libraries already.

A fresh interpreter spends more time on imports than a small sweep on its runs, and a kill at a random moment would meet
imports mostly. The child is a process like any other: its own memory, its own locks, killed as a whole.
`python -m benchmarks.reliability.launcher` is the process that is forked from; it answers lines.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Running:
    """A command that was started."""

    def __init__(self, pid: int, answers: io.FileIO) -> None:
        self.pid = pid
        self._answers = answers
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal, or None while it runs."""
        if self._code is None and select.select([self._answers], [], [], 0.0)[0]:
            self.wait()
        return self._code

    def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        if self._code is None:
            self._code = int(self._answers.readline())
        return self._code

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)


class Launcher:
    """Starts `benchmarks.compare` with given arguments, one at a time.

    Args:
        log: File that the commands' output is added to.
    """

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        """Load the libraries."""
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability.launcher", str(self._log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, **quiet},
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        # Read without a buffer, so that what select sees is all there is.
        self._answers = io.FileIO(os.dup(self._process.stdout.fileno()))
        return self

    def start(self, arguments: Sequence[str]) -> Running:
        """Start the command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(arguments)) + "\n")
        self._process.stdin.flush()
        return Running(int(self._answers.readline()), self._answers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process that the commands were forked from."""
        for pipe in (self._process.stdin, self._process.stdout, self._answers):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()


def main(log: str) -> int:
    """Answer every line of arguments with the process that carries them out, and then with its exit code."""
    from benchmarks import compare
    from reports import page, sections

    assert page
    assert sections
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            for stream in (1, 2):
                os.dup2(output, stream)
            os._exit(compare.main(json.loads(line)))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
