from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.errors import UsageError
from benchmarks.storage import StorageError
from benchmarks.store import RunStore
from benchmarks.written import write_json
from tests.benchmarks.test_spec import SPEC


def finish(store: RunStore, key: str, **row: object) -> None:
    with store.writing(key) as folder:
        write_json(folder / "run.json", {"row": row})


def test_a_run_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = RunStore(tmp_path)

    def fail_halfway() -> None:
        with store.writing("k") as folder:
            write_json(folder / "run.json", {"row": {}})
            assert not store.is_complete("k")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert not store.is_complete("k")
    assert list(store.runs.iterdir()) == []
    finish(store, "k", score=1.0)
    assert store.is_complete("k")
    assert store.row("k") == {"score": 1.0}


def test_leftovers_of_a_kill_are_removed_and_all_else_kept(tmp_path: Path) -> None:
    store, other = RunStore(tmp_path), RunStore(tmp_path)
    finish(store, "done")
    # Nobody holds the lock of the first; the second's writer is at work, be it on another machine.
    killed = store.runs / ".unfinished-killed@another-machine-123"
    running = store.runs / ".unfinished-running@another-machine-123"
    for folder in (killed, running):
        folder.mkdir()
        (folder / "run.json").write_text("{")
    ended = subprocess.Popen(["true"])
    ended.wait()
    half = tmp_path / f".results.csv@{platform.node()}-{ended.pid}.partial"
    half.write_text("met")
    with store.writing("mine"), other.claimed("running") as claimed:
        assert claimed
        store.remove_unfinished()
        kept = {p.name for p in store.runs.iterdir()}
        assert kept == {running.name, f".unfinished-mine@{platform.node()}-{os.getpid()}", "done"}
    assert not half.exists()


def test_a_key_is_one_commands_at_a_time(tmp_path: Path) -> None:
    first, second = RunStore(tmp_path), RunStore(tmp_path)
    with first.claimed("k") as mine, second.claimed("k") as its:
        assert (mine, its) == (True, False)
        with first.claimed("k") as again:
            assert again
        with second.claimed("other") as free:
            assert free
    with second.claimed("k") as its:
        assert its


def test_a_record_that_was_cut_off_is_no_finished_run_and_is_made_again(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    finish(store, "k", score=1.0)
    record = store.runs / "k" / "run.json"
    record.write_bytes(record.read_bytes()[:-3])
    store = RunStore(tmp_path)
    assert not store.is_complete("k")
    finish(store, "k", score=2.0)
    assert store.row("k") == {"score": 2.0}


def test_a_second_writer_does_not_overwrite(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with store.writing("k") as folder:
        write_json(folder / "run.json", {"row": {"score": 2.0}})
        (store.runs / "k").mkdir()
        write_json(store.runs / "k" / "run.json", {"row": {"score": 1.0}})
    assert store.row("k") == {"score": 1.0}


def test_results_have_a_row_a_run_in_both_formats(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    finish(store, "a", method="lora", score=0.25)
    finish(store, "b", method="bilora", score=0.5)
    store.write_results(["a", "missing", "b"])
    for table in (pd.read_csv(tmp_path / "results.csv"), pd.read_parquet(tmp_path / "results.parquet")):
        assert table["method"].tolist() == ["lora", "bilora"]
        assert table["score"].tolist() == [0.25, 0.5]


def test_a_failure_is_noted_until_the_run_succeeds(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    spec = replace(SPEC, seed=1)
    path = store.record_failure(spec, stage="train", message="diverged", details="Traceback")
    record = json.loads(path.read_text())
    assert path == tmp_path / "failed" / f"{spec.key}.json"
    assert (record["key"], record["stage"], record["message"]) == (spec.key, "train", "diverged")
    finish(store, spec.key)
    assert list((tmp_path / "failed").iterdir()) == []


@pytest.mark.parametrize("damaged", ["{", "null", "[]", '{"stage": "train"}', "[" * 100_000])
def test_a_damaged_note_of_a_failure_is_none(tmp_path: Path, damaged: str) -> None:
    store = RunStore(tmp_path)
    assert store.failure(SPEC.key) is None
    path = store.record_failure(SPEC, stage="train", message="diverged", details="")
    assert store.failure(SPEC.key) == json.loads(path.read_text())
    path.write_text(damaged)
    assert store.failure(SPEC.key) is None


def test_unwritable_output_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; expected a folder"):
        RunStore(tmp_path / "file" / "out").check_writable()
    with pytest.raises(UsageError, match="cannot be used: File name too long"):
        RunStore(tmp_path / ("x" * 300)).check_writable()
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match="runs is a file"):
        RunStore(tmp_path).check_writable()
    with pytest.raises(UsageError, match=r"--out: /proc/x cannot be created"):
        RunStore(Path("/proc/x")).create()
    # The test may run as root, who may write anywhere; ask for the answer that a user would get.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"--out: .* cannot be written"):
        RunStore(tmp_path / "new" / "out").check_writable()
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    finish(store, "done", score=1.0)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(StorageError, match=r"no space left on the device; finished runs are kept"):
            finish(store, "k")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(StorageError, match="no space left"):
            store.record_failure(SPEC, stage="train", message="m", details="d")
    assert [p.name for p in store.runs.iterdir()] == ["done"]
    assert store.row("done") == {"score": 1.0}
