"""Holds on to what the sandbox started, so that it ends when its time is up, whatever the program tells the kernel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path


class SandboxError(RuntimeError):
    """Programs cannot be isolated on this machine."""


class Running:
    """What was started: `unshare`, and the program as its child, the first process of a namespace."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._program: int | None = None

    def note_program(self) -> None:
        """Take hold of the program, which may have told the kernel not to die with `unshare`."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError as error:
            raise SandboxError(f"programs cannot be isolated here: their process is not found ({error})") from None
        # None is left if it has ended already.
        with contextlib.suppress(ProcessLookupError):
            self._program = os.pidfd_open(int(children[0])) if children else None

    def kill(self) -> None:
        """Kill the program, and with it, as the first of its namespace, all it may have started."""
        if self._program is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._program, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Let go of the program."""
        if self._program is not None:
            os.close(self._program)
            self._program = None


class deadline:  # noqa: N801  # used like a function
    """Kill what runs longer than some seconds; the event says whether that was necessary."""

    def __init__(self, running: Running, seconds: float) -> None:
        self._late = threading.Event()
        self._running = running
        self._timer = threading.Timer(seconds, self._end)

    def _end(self) -> None:
        self._late.set()
        self._running.kill()

    def __enter__(self) -> threading.Event:
        self._timer.start()
        return self._late

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
