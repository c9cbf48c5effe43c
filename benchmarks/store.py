"""The run store: one folder per run, written under another name and renamed when it is complete.

A kill at any moment leaves finished runs whole and at most one unfinished folder, whose name says so and which
the next command removes. Files that describe a whole comparison are replaced by rename as well.

    OUT/comparison.json   the last comparison: methods, tasks, seeds, run keys, conventions, environment
    OUT/runs/KEY/         run.json, history.json, examples.json, adapter/; measurement.json, dynamics.json if asked for
    OUT/failed/KEY.json   why a run of the last comparison failed
    OUT/results.csv, OUT/results.parquet
    OUT/tuning/           a store of the trials, where a comparison was tuned
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.errors import UsageError
from benchmarks.spec import RunSpec

SCHEMA = 1
_UNFINISHED = ".unfinished-"


class RunStore:
    """Runs in a folder, by key.

    Args:
        folder: The output folder; it is created by the first write, not before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.failed = folder / "failed"

    def check_writable(self) -> None:
        """Refuse an output folder that cannot be written, without creating anything.

        Raises:
            UsageError: If the folder or its nearest existing parent is not a writable folder.
        """
        try:
            existing = self.runs.absolute()
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
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--out: {self.folder} cannot be created: {error.strerror}; choose another folder"
            ) from None

    def is_complete(self, key: str) -> bool:
        """Whether the run of this key is finished."""
        return (self.runs / key / "run.json").is_file()

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Yield a folder to write a run into; it becomes the run's folder when the block ends without an error."""
        unfinished = self.runs / f"{_UNFINISHED}{platform.node()}-{os.getpid()}-{key}"
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        # Complete runs are never overwritten: a second writer of the same key has computed the same thing.
        if self.is_complete(key):
            shutil.rmtree(unfinished)
        else:
            unfinished.rename(self.runs / key)
        (self.failed / f"{key}.json").unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what killed commands on this machine left behind; a command that is still running keeps its own."""
        prefix = f"{_UNFINISHED}{platform.node()}-"
        for folder in self.runs.glob(f"{prefix}*"):
            process = folder.name.removeprefix(prefix).split("-", 1)[0]
            if not _is_running(process):
                shutil.rmtree(folder, ignore_errors=True)

    def record_failure(self, spec: RunSpec, *, stage: str, message: str, details: str) -> Path:
        """Note why a run failed, so that the report can mark the hole; returns the file with the details."""
        self.failed.mkdir(parents=True, exist_ok=True)
        record = {"key": spec.key, "spec": spec.as_dict(), "stage": stage, "message": message}
        path = self.failed / f"{spec.key}.json"
        write_json(path, record | {"details": details, "time": now()})
        return path

    def problem(self, key: str) -> str | None:
        """Return why a finished run could not be measured, or None."""
        failure = json.loads((self.runs / key / "run.json").read_text()).get("failure")
        return str(failure["message"]) if failure else None

    def row(self, key: str) -> dict[str, Any]:
        """Return the flat record of a finished run, the row of results.csv."""
        row: dict[str, Any] = json.loads((self.runs / key / "run.json").read_text())["row"]
        return row

    def write_results(self, keys: Sequence[str]) -> pd.DataFrame:
        """Write results.csv and results.parquet from the finished runs among `keys`; one row each."""
        table = pd.DataFrame([self.row(key) for key in keys if self.is_complete(key)])
        for name, write in (("results.csv", table.to_csv), ("results.parquet", table.to_parquet)):
            partial = self.folder / f".{name}"
            write(partial, index=False)
            partial.replace(self.folder / name)
        return table


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN and infinities are refused, since JSON has none."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
    partial.replace(path)
