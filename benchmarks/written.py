"""Writes files in one step: under another name first, then renamed, so that no reader ever sees half of one."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: How files end that were being written when their process was killed.
PARTIAL = ".partial"


def writer() -> str:
    """Return the name of this process as unfinished folders and files carry it."""
    return f"{platform.node()}-{os.getpid()}"


def has_ended(name: str) -> bool:
    """Whether a process of this machine is gone; of those of other machines nothing is known."""
    machine, _, process = name.rpartition("-")
    if machine != platform.node() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write a file under, which then takes the place of the file at `path` in one step."""
    partial = path.with_name(f".{path.name}@{writer()}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN and infinities are refused, since JSON has none."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text)
