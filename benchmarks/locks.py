"""Locks between processes that share a store: who holds a key's lock is the one that works on it.

A lock is an open file under `flock` (BSD, and Linux since 2.6.12 over NFS too): the kernel gives it back when its
process ends, however it ends, so that what a killed process was at work on can be taken over at once and no clock
decides who is alive. The file's text says who holds it, for people and for messages; nothing is decided by it.

On a file system without locks every lock is given: then two commands at once may compute the same thing, of which the
store keeps one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from pathlib import Path
from types import TracebackType
from typing import Self

# What a file system answers that has no locks.
_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class FileLock:
    """A lock on a file, held from `acquire` to `release` or to the end of the process.

    Args:
        path: The file; it is made with its folder when the lock is taken, and removed when it is given back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Whether the file system has locks; without them everybody is given this one.
        self.excludes = True
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; returns whether it is held now. With `wait` it is held in any case.

        Raises:
            OSError: If the file cannot be made, as on a full disk.
        """
        while self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                continue  # the folder went in between
            try:
                if not self._lock(file, wait=wait):
                    os.close(file)
                    return False
                # Who held it before may have removed the very file that was waited for.
                current = _is_same(file, self.path)
            except BaseException:
                os.close(file)
                raise
            if not current:
                os.close(file)
                continue
            self._file = file
            _sign(file)
        return True

    def release(self) -> None:
        """Give it back and remove its file; nothing happens if it is not held."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            # While it is still held, so that nobody can have taken it by this name.
            self.path.unlink(missing_ok=True)
        except OSError:
            pass  # a file that stays behind is nobody's lock
        finally:
            os.close(file)

    def holder(self) -> str:
        """Return who says to hold it, as "process 12 on host"; "another command" where nobody says so."""
        try:
            return self.path.read_text(errors="replace").strip()[:200] or "another command"
        except OSError:
            return "another command"

    def _lock(self, file: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            if error.errno not in _UNSUPPORTED:
                raise
            self.excludes = False
        return True

    def __enter__(self) -> Self:
        """Wait for the lock."""
        self.acquire(wait=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self.release()


def _is_same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: int) -> None:
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
    except OSError:
        pass  # on a full disk the lock holds without a name
