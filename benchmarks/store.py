"""The run store: one folder per run, written under another name and renamed when it is complete.

A kill at any moment leaves finished runs whole and at most one unfinished folder, whose name says so and which
the next command removes. Files that describe a whole comparison are replaced by rename as well. Commands that share a
store, on one machine or on several with a shared folder, lock the key that they work on: see `benchmarks.locks`.

    OUT/comparison.json   the last comparison: methods, tasks, seeds, run keys, conventions, environment
    OUT/runs/KEY/         run.json, history.json, examples.json, adapter/; if asked for measurement.json,
                          dynamics.json, lm-eval.json
    OUT/failed/KEY.json   why a run of the last comparison failed
    OUT/locks/KEY         who is at work on a run
    OUT/checkpoints/KEY/  where a run goes on that was killed in training, see `benchmarks.checkpoints`
    OUT/results.csv, OUT/results.parquet
    OUT/tuning/           a store of the trials, where a comparison was tuned
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.errors import UsageError
from benchmarks.locks import FileLock
from benchmarks.spec import RunSpec
from benchmarks.storage import storing, sync
from benchmarks.written import PARTIAL, has_ended, now, replacing, write_json, writer
from reports.harness import SIDE_FILE, harness_columns

SCHEMA = 1
_UNFINISHED = ".unfinished-"


class FolderStore:
    """Folders by key, each of them complete or not there.

    Args:
        folder: The output folder; it is created by the first write, not before.
        name: Where in it the folders lie.
        record: The file that a complete folder holds.
    """

    def __init__(self, folder: Path, name: str, record: str) -> None:
        self.folder = folder
        self.items = folder / name
        self.failed = folder / "failed"
        self._record = record
        self._locks: dict[str, FileLock] = {}
        self._complete: set[str] = set()

    def check_writable(self) -> None:
        """Refuse an output folder that cannot be written, without creating anything.

        Raises:
            UsageError: If the folder or its nearest existing parent is not a writable folder.
        """
        try:
            existing = self.items.absolute()
            while not existing.exists():
                existing = existing.parent
        except OSError as error:
            raise UsageError(f"--out: {self.folder} cannot be used: {error.strerror}; choose another folder") from None
        if not existing.is_dir():
            raise UsageError(f"--out: {existing} is a file; expected a folder that can be written")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UsageError(f"--out: {existing} cannot be written; choose another folder")

    def create(self) -> None:
        """Create the output folder.

        Raises:
            UsageError: If the system refuses, for example on a read-only or special file system.
        """
        try:
            self.items.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--out: {self.folder} cannot be created: {error.strerror}; choose another folder"
            ) from None

    def is_complete(self, key: str) -> bool:
        """Whether what has this key is finished; a record that was cut off, by a copy for example, is none."""
        if key in self._complete:
            return True
        try:
            found = json.loads((self.items / key / self._record).read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        if isinstance(found, dict):
            self._complete.add(key)
        return key in self._complete

    def _lock(self, key: str) -> FileLock:
        return self._locks.setdefault(key, FileLock(self.folder / "locks" / key))

    @contextmanager
    def claimed(self, key: str, *, wait: bool = False) -> Iterator[bool]:
        """Yield whether what has this key is this command's to do; no other command is at work on it inside then.

        Args:
            key: Of a run, or a word for something else in the store that one command alone may write.
            wait: Wait until it is; what is yielded is true then.

        Raises:
            StorageError: If the store cannot be written.
        """
        lock = self._lock(key)
        if lock.held:
            yield True
            return
        with storing(self.folder):
            taken = lock.acquire(wait=wait)
        try:
            yield taken
        finally:
            lock.release()

    def holder(self, key: str) -> str:
        """Return who says to be at work on a key."""
        return self._lock(key).holder()

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Yield a folder to write into; it becomes that of its key when the block ends without an error.

        Raises:
            StorageError: If the store cannot be written; what the block itself raises passes through.
        """
        with self.claimed(key, wait=True):
            unfinished = self.items / f"{_UNFINISHED}{key}@{writer()}"
            with storing(self.folder):
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
            try:
                yield unfinished
                with storing(self.folder):
                    self._finish(key, unfinished)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise

    def _finish(self, key: str, unfinished: Path) -> None:
        # What is complete is never overwritten: a second writer of the same key has computed the same thing.
        if self.is_complete(key):
            shutil.rmtree(unfinished)
        else:
            sync(unfinished)
            shutil.rmtree(self.items / key, ignore_errors=True)
            unfinished.rename(self.items / key)
        (self.failed / f"{key}.json").unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what killed commands left behind, on whatever machine; what a command is at work on stays."""
        for folder in self.items.glob(f"{_UNFINISHED}*"):
            key, _, owner = folder.name.removeprefix(_UNFINISHED).rpartition("@")
            lock = self._lock(key)
            with storing(self.folder):
                free = not lock.held and lock.acquire()
            if free:
                # Without locks only the processes of this machine can be told to have ended.
                if lock.excludes or has_ended(owner):
                    shutil.rmtree(folder, ignore_errors=True)
                lock.release()
        for partial in self.folder.glob(f".*{PARTIAL}"):
            if has_ended(partial.name.removesuffix(PARTIAL).rpartition("@")[2]):
                partial.unlink(missing_ok=True)


class RunStore(FolderStore):
    """Runs in a folder, by key."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "runs", "run.json")
        self.runs = self.items

    def record_failure(
        self, spec: RunSpec, *, stage: str, message: str, details: str, kind: str | None = None, step: int | None = None
    ) -> Path:
        """Note why a run failed, so that the report can mark the hole.

        Args:
            spec: The run.
            stage: Where it failed.
            message: Why, in one line.
            details: Of the error, for whoever looks into it.
            kind: "diverged" or "out-of-memory", where it is one of these.
            step: Optimizer step at which training diverged.

        Returns:
            The file with the details.
        """
        path = self.failed / f"{spec.key}.json"
        record: dict[str, Any] = {"key": spec.key, "spec": spec.as_dict(), "stage": stage, "message": message}
        record |= {name: value for name, value in (("kind", kind), ("step", step)) if value is not None}
        with storing(self.folder):
            self.failed.mkdir(parents=True, exist_ok=True)
            write_json(path, record | {"details": details, "time": now()})
        return path

    def failure(self, key: str) -> dict[str, Any] | None:
        """Return what was noted of a failed run, with its stage and message; None if nothing is, or it is damaged."""
        try:
            found = json.loads((self.failed / f"{key}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and {"stage", "message"} <= found.keys() else None

    def problem(self, key: str) -> str | None:
        """Return why a finished run could not be measured, or None."""
        failure = json.loads((self.runs / key / "run.json").read_text()).get("failure")
        return str(failure["message"]) if failure else None

    def row(self, key: str) -> dict[str, Any]:
        """Return the flat record of a finished run, the row of results.csv."""
        row: dict[str, Any] = json.loads((self.runs / key / "run.json").read_text())["row"]
        scores = self.runs / key / SIDE_FILE
        return row | harness_columns(json.loads(scores.read_text())) if scores.is_file() else row

    def write_results(self, keys: Sequence[str]) -> pd.DataFrame:
        """Write results.csv and results.parquet from the finished runs among `keys`; one row each."""
        table = pd.DataFrame([self.row(key) for key in keys if self.is_complete(key)])
        for name, write in (("results.csv", table.to_csv), ("results.parquet", table.to_parquet)):
            with storing(self.folder), replacing(self.folder / name) as partial:
                write(partial, index=False)
        return table
