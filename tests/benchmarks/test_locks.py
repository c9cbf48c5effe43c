from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.locks import FileLock

HOLDER = """
import sys, time
from pathlib import Path
from benchmarks.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_one_holder_at_a_time_and_its_name_is_told(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "locks" / "k"), FileLock(tmp_path / "locks" / "k")
    assert first.acquire()
    assert not second.acquire()
    assert "process " in second.holder()
    first.release()
    assert not (tmp_path / "locks" / "k").exists()
    assert second.acquire()
    second.release()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "k"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    lock = FileLock(path)
    assert not lock.acquire()
    assert lock.holder().startswith(f"process {process.pid} on ")
    process.kill()
    process.wait()
    process.stdout.close()
    assert path.exists()  # its file is still there, and nobody's
    assert lock.acquire()
    lock.release()


def test_who_waits_gets_it_even_if_the_file_was_removed_meanwhile(tmp_path: Path) -> None:
    first, second, third = (FileLock(tmp_path / "k") for _ in range(3))
    first.acquire()
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(second.acquire(wait=True)))
    thread.start()
    time.sleep(0.1)
    assert got == []
    first.release()
    thread.join(timeout=10)
    assert got == [True]
    # The second one holds the file that has the name now, not the one that was removed.
    assert not third.acquire()
    second.release()


def test_without_locks_everybody_is_given_it_and_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    lock = FileLock(tmp_path / "k")
    assert lock.acquire()
    assert not lock.excludes
    lock.release()
