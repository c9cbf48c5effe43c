"""What a store's disk refuses: told apart from what is wrong with a run, because no other run would fare better.

A run that diverges leaves the others alone. A disk that is full, or a folder that turned read-only, stops the command
with one line: what is finished stays, and the same command goes on once there is room. Libraries pass the system's
answer on in their own exceptions, so the text is read where the number is lost.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the device reports an input/output error",
    errno.ESTALE: "the network folder is gone",
}
# As safetensors' Rust code and PyTorch's archive writer word it.
_WORDS = {
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
    "input/output error": errno.EIO,
}
_WRITER = "PytorchStreamWriter"
# PyTorch's writer says that it failed and not why; a disk with less than this is full.
_NOTHING_LEFT = 64 * 1024


class StorageError(RuntimeError):
    """The store cannot be written any more; the text is one line and complete."""


def storage_reason(error: BaseException, folder: Path) -> str | None:
    """Return in a few words what the disk refused, or None for an error of another kind.

    Args:
        error: What was raised; what it was raised from is looked at too.
        folder: The store.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        number = current.errno if isinstance(current, OSError) else None
        if number in _REASONS:
            return _REASONS[number]
        text = str(current).lower()
        found = next((number for words, number in _WORDS.items() if words in text), None)
        if found is not None:
            return _REASONS[found]
        if _WRITER.lower() in text and _is_full(folder):
            return _REASONS[errno.ENOSPC]
        current = current.__cause__ or current.__context__
    return None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NOTHING_LEFT
    except OSError:
        return False


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Say of every error of the disk, in one line, what cannot be written and how to go on.

    Raises:
        StorageError: In place of the error.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        # Writing into a folder is refused with EACCES or EPERM when its permissions have changed.
        denied = isinstance(error, PermissionError)
        reason = "permission denied" if denied else storage_reason(error, folder)
        if reason is None:
            raise
        raise StorageError(
            f"{folder} cannot be written: {reason}; finished runs are kept: mend that, or copy the folder elsewhere "
            "and name it with --out, and the same command goes on from here"
        ) from error


def sync(folder: Path) -> None:
    """Have everything in a folder on the disk, so that a rename that says it is complete is true after a power cut."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(os.path.join(parent, name))
        _sync(parent)


def _sync(path: str) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        # Some file systems cannot sync folders, which is no loss.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(file)
