from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.reliability.damage import pickled
from benchmarks.reliability.guard import TooSlow, watched


def test_what_is_written_inside_is_allowed_and_what_is_written_outside_is_told(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    with watched(inside, seconds=60) as found:
        (inside / "a").write_text("x")
        (inside / "b").mkdir()
        (inside / "link").symlink_to(outside)
        (outside / "read").exists()
    assert found == []
    with watched(inside, seconds=60) as found:
        (outside / "a").write_text("x")
        (inside / "link" / "b").mkdir()  # through a link
        (inside / "a").rename(outside / "moved")
    assert [entry.split()[0] for entry in found] == ["open", "os.mkdir", "os.rename"]
    assert all(str(outside) in entry for entry in found)


def test_programs_and_pickles_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with watched(tmp_path, seconds=60) as found:
        subprocess.run([sys.executable, "-c", ""], check=True)
        pickle.loads(pickled())
    assert {entry.split()[0] for entry in found} == {"subprocess.Popen", "pickle.find_class"}
    assert (tmp_path / "unpickled").is_dir()  # the trace that a pickle leaves


def test_time_is_limited_and_nothing_is_watched_afterwards(tmp_path: Path) -> None:
    def never_ends() -> None:
        with watched(tmp_path, seconds=0.1):
            while True:
                with suppress(Exception):  # which may not take it
                    time.sleep(0.01)

    with pytest.raises(TooSlow, match=r"not answered within 0.1 s"):
        never_ends()
    with watched(tmp_path, seconds=60) as found:
        pass
    os.mkdir(tmp_path / "later")
    assert found == []
