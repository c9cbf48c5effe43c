"""Where the rows of a published data set come from: local files of the same columns, or the Hugging Face hub.

Local files are JSON (a list), JSON lines or Parquet, named after the splits: `train.jsonl`, `validation.parquet`, or
`train-00000-of-00002.parquet` and so on, as on the hub. They lie in the folder that is given, or in one of the task's
name inside it, so that one folder can serve several tasks; a set that has no split but `train` may be a single file.
Only the hub needs a network, and only once: `datasets` keeps what it has fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError, first_line, one_line

Row = Mapping[str, Any]
ENDINGS = (".jsonl", ".json", ".parquet")
_CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A published data set.

    Attributes:
        hub: Its name on the hub.
        config: Which of its parts, or None.
        splits: The splits that are read; the first is trained on.
        columns: The columns that are read.
        limit: Rows of the first split that are taken, from its beginning; None takes all.
    """

    hub: str
    config: str | None = None
    splits: tuple[str, ...] = ("train",)
    columns: tuple[str, ...]
    limit: int | None = None


def read_split(task: str, source: Source, split: str, data: Path | None) -> list[Row]:
    """Return the rows of a split, from local files if a place is given, from the hub otherwise.

    Raises:
        UsageError: If there is no such data, it cannot be read, or columns are missing.
    """
    limit = source.limit if split == source.splits[0] else None
    if data is None:
        rows, origin = _from_hub(task, source, split, limit), source.hub
    else:
        files = _files(task, source, split, data)
        rows, origin = [row for file in files for row in read_rows(file)][:limit], str(files[0])
    check_columns(task, rows, source.columns, origin)
    return rows


def check_columns(task: str, rows: Sequence[Row], expected: Sequence[str], origin: str) -> None:
    """Refuse rows that lack a column.

    Raises:
        UsageError: Naming the columns that were found and expected.
    """
    if not rows:
        raise UsageError(f"--data: {origin} holds no row; {task} expects the columns {', '.join(expected)}")
    for number, row in enumerate(rows, start=1):
        missing = [column for column in expected if column not in row]
        if missing:
            raise UsageError(
                f"--data: row {number} of {origin} has the columns {', '.join(map(str, row)) or 'none'}; {task} "
                f"expects {', '.join(expected)}"
            )


def _files(task: str, source: Source, split: str, data: Path) -> list[Path]:
    if data.is_file():
        if len(source.splits) == 1:
            return [data]
        raise UsageError(
            f"--data: {data} is one file, and {task} has the splits {', '.join(source.splits)}; give a folder with a "
            f"file of each name ({', '.join(ENDINGS)})"
        )
    folder = data / task if (data / task).is_dir() else data
    # The middle name of one of several validation splits can be left out.
    for name in dict.fromkeys((split, split.split("_")[0])):
        for ending in ENDINGS:
            found = [folder / f"{name}{ending}"] if (folder / f"{name}{ending}").is_file() else []
            found = found or sorted(folder.glob(f"{name}-*-of-*{ending}"))
            if found:
                return found
    raise UsageError(
        f"--data: {folder} holds no file {split}{ENDINGS[0]} (or {', '.join(ENDINGS[1:])}); {task} reads one with the "
        f"columns {', '.join(source.columns)}"
    )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file by its ending: JSON lines, a JSON list, or Parquet.

    Raises:
        UsageError: If it cannot be read as such, with the line.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"--data: {path} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}")
    try:
        if path.suffix == ".parquet":
            from pyarrow.parquet import read_table

            rows: list[Any] = read_table(path).to_pylist()
        else:
            text = path.read_text(encoding="utf-8")
            rows = json.loads(text) if text.lstrip().startswith("[") else _lines(path, text)
            if "\\ud" in text.lower():
                _check_characters(path, rows)
    except OSError as error:
        raise UsageError(f"--data: {path} cannot be read: {error.strerror or error}") from None
    # Of JSON or its encoding, or of Parquet, whose errors are ValueErrors too; of JSON that is nested without end.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--data: {path} is not valid {path.suffix[1:]}: {one_line(error)}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UsageError(f"--data: row {number} of {path} is a {type(row).__name__}; expected an object of columns")
    return list(rows)


def _check_characters(path: Path, rows: Sequence[Any]) -> None:
    """Refuse halves of surrogate pairs, which JSON can escape and no tokenizer reads."""
    for number, row in enumerate(rows, start=1):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.start + 1]
            raise UsageError(
                f"--data: row {number} of {path} has half of a surrogate pair ({half!a}), which is no character; "
                "expected valid Unicode"
            ) from None


def _lines(path: Path, text: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"--data: line {number} of {path} is not valid JSON: {error}") from None
    return rows


def _from_hub(task: str, source: Source, split: str, limit: int | None) -> list[Row]:
    # It takes a second to import, which commands without a published data set need not spend.
    import datasets

    part = split if limit is None else f"{split}[:{limit}]"
    try:
        try:
            return list(datasets.load_dataset(source.hub, source.config, split=part))
        except RuntimeError as error:
            # datasets 4 runs no code of a repository; the hub keeps a Parquet copy of what such a script makes.
            if "scripts are no longer supported" not in str(error):
                raise
            return list(datasets.load_dataset(source.hub, source.config, split=part, revision=_CONVERTED))
    except (OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        config = f" ({source.config})" if source.config else ""
        files = " and ".join(f"FOLDER/{name}{ENDINGS[0]}" for name in source.splits)
        raise UsageError(
            f"--tasks: {task} reads {source.hub}{config} from the hub, which is not cached and cannot be reached "
            f"({reason}); --data FOLDER reads local files instead, {files} (or {', '.join(ENDINGS[1:])}; also in "
            f"FOLDER/{task}) with the columns {', '.join(source.columns)}"
        ) from None
