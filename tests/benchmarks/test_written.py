from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from benchmarks.written import has_ended, replacing, write_json, writer


def test_json_refuses_what_json_does_not_have(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail_halfway() -> None:
        with replacing(path) as partial:
            partial.write_text("ne")
            assert path.read_text() == "old"
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_processes_that_ended_are_told_from_those_at_work_and_those_of_other_machines() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert has_ended(f"{platform.node()}-{ended.pid}")
    assert not has_ended(writer())
    assert not has_ended(f"another-machine-{ended.pid}")
    assert not has_ended(f"{platform.node()}-²")  # a digit, and no number
    assert not has_ended(f"{platform.node()}-{os.getppid()}")
    assert not has_ended("nonsense")
