"""Typed reads from the JSON files of a run store.

Stored runs may come from another version, another machine or an interrupted copy, so every read states what it
expects and names the file that disappointed it. A number that is missing and a number that is not finite both
read as None: a report shows a hole, never a sentinel value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

#: The layout of the run store that this package reads.
SCHEMA = 1
#: Bytes of one file of a run; ten thousand long answers take a tenth of it.
LARGEST_FILE = 512 * 2**20
#: Beyond this the square of a number, of which a standard error is made, or the sum of a few, is not finite.
LARGEST_NUMBER = 1e150


class RunStoreError(ValueError):
    """A folder or file of the run store is not what it should be; the text says what was found."""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or raise `RunStoreError` naming the file and the fault."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise RunStoreError(f"{path.name} has {size} bytes, expected at most {LARGEST_FILE}")
        content = path.read_text(encoding="utf-8")
        found = json.loads(content)
        # JSON can escape halves of surrogate pairs, which are no characters and can be written nowhere.
        return _whole(found) if "\\ud" in content.lower() else found
    except FileNotFoundError:
        raise RunStoreError(f"{path.name} is missing") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise RunStoreError(f"{path.name} cannot be read: {fault}") from None
    except json.JSONDecodeError as fault:
        raise RunStoreError(f"{path.name} is not valid JSON (line {fault.lineno}): {fault.msg}") from None
    except RecursionError:
        raise RunStoreError(f"{path.name} is nested too deeply") from None
    except RunStoreError:
        raise
    except ValueError as fault:  # of a number with thousands of digits
        raise RunStoreError(f"{path.name} cannot be read: {fault}") from None


def _whole(content: Any) -> Any:
    """Return a JSON tree in whose texts half surrogate pairs are replacement characters."""
    if isinstance(content, str):
        return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(content, list):
        return [_whole(entry) for entry in content]
    if isinstance(content, dict):
        return {_whole(key): _whole(value) for key, value in content.items()}
    return content


def read_record(path: Path) -> Record:
    """Return the JSON object in `path`, or raise `RunStoreError`."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise RunStoreError(f"{path.name} holds a {type(content).__name__}, expected an object")
    return content


def read_records(path: Path) -> tuple[Record, ...]:
    """Return the JSON list of objects in `path`, or raise `RunStoreError`."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise RunStoreError(f"{path.name} does not hold a list of objects")
    return tuple(content)


def check_schema(record: Record, file_name: str) -> None:
    """Refuse a file written for another layout of the run store."""
    found = record.get("schema")
    if found != SCHEMA:
        raise RunStoreError(
            f"{file_name} has schema {found!r}, this version reads schema {SCHEMA}: "
            f"render it with the version that wrote it, or run the comparison again"
        )


def number(record: Record, name: str) -> float | None:
    """Return a number, or None where it is absent, not a number, not finite, or beyond `LARGEST_NUMBER`."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # JSON's integers have no end
        return None
    return found if abs(found) <= LARGEST_NUMBER else None


def quotient(above: float | None, below: float | None) -> float | None:
    """Return a ratio, or None where a part is missing, the lower one is zero, or it is beyond `LARGEST_NUMBER`."""
    if above is None or not below:
        return None
    found = above / below
    return found if abs(found) <= LARGEST_NUMBER else None


def text(record: Record, name: str) -> str:
    """Return a field as text; an absent field and null both read as the empty string."""
    value = record.get(name)
    return "" if value is None else str(value)


def mapping(record: Record, name: str) -> Record:
    """Return a nested object, empty where it is absent or of another type."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def sequence(record: Record, name: str) -> list[Any]:
    """Return a nested list, empty where it is absent or of another type."""
    value = record.get(name)
    return value if isinstance(value, list) else []
