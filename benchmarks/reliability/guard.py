"""Watches what a piece of code does to the machine while it answers an input: files, programs, network, pickles.

Python reports every file that is opened or changed, every program started, every connection and every class that a
pickle asks for through audit events (PEP 578). A hook cannot be taken out again, so that one is put in once and looks
away except inside `watched`. What native libraries do unseen by Python is found afterwards, in the folders beside.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_REACHES = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "socket.connect",
    "pickle.find_class",
}
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TooSlow(BaseException):
    """An input was not answered in time; no `except Exception` may take it."""


class _Watch:
    """What is allowed now, and what was done against it."""

    def __init__(self) -> None:
        self.active = False
        self.allowed: tuple[str, ...] = ()
        self.found: list[str] = []
        self._inside = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active or self._inside:
            return
        self._inside = True
        try:
            if event in _REACHES:
                self.found.append(f"{event} {str(arguments)[:200]}")
            elif event in _WRITES:
                # What a link leads to is not changed by making it.
                changed = arguments[1:2] if event in ("os.symlink", "os.link") else arguments[:2]
                self._check(event, [path for path in changed if isinstance(path, str | bytes | os.PathLike)])
            elif event == "open" and _is_written(arguments):
                self._check(event, [arguments[0]])
        finally:
            self._inside = False

    def _check(self, event: str, paths: list[Any]) -> None:
        for path in paths:
            if isinstance(path, int):
                continue  # an open file, which was looked at when it was opened
            # The folder's links are followed, the last name is what is changed.
            full = os.path.abspath(os.fsdecode(path))
            real = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))
            if event == "open":
                real = os.path.realpath(full)
            if not any(real == place or real.startswith(place + os.sep) for place in self.allowed):
                self.found.append(f"{event} {real}")


_WATCH = _Watch()
_installed: list[bool] = []


def _is_written(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITING_FLAGS)


@contextmanager
def watched(*allowed: Path, seconds: float) -> Iterator[list[str]]:
    """Yield a list that fills with what the block does outside the allowed folders, and end the block in time.

    Args:
        allowed: Folders that may be written to.
        seconds: Time limit; looked at between two instructions of Python.

    Raises:
        TooSlow: When the time is up.
    """
    if not _installed:
        sys.addaudithook(_WATCH)
        _installed.append(True)

    def late(*_: Any) -> None:
        raise TooSlow(f"not answered within {seconds:g} s")

    _WATCH.allowed = tuple(os.path.realpath(place) for place in (*allowed, Path("/dev/null")))
    _WATCH.found = []
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _WATCH.active = True
    try:
        yield _WATCH.found
    finally:
        _WATCH.active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
