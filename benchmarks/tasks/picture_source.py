"""Where the pictures of a DreamBooth task come from: a local folder, or the hub."""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import UsageError, first_line, nearest
from benchmarks.tasks.picture_files import ENDINGS, Content, picture_files
from benchmarks.tasks.sources import Row, read_rows

METADATA = "metadata.jsonl"
#: Columns of captions by the names that data sets give them, the first that is there is read.
CAPTIONS = ("prompt", "text", "caption")


def local_rows(task: str, data: Path, captioned: bool) -> list[Row]:
    """Return the pictures of a folder, or of the one of the task's name inside it, by name; captions if wanted.

    Raises:
        UsageError: If there is no such folder or no picture in it, or captions do not fit.
    """
    folder = data / task if (data / task).is_dir() else data
    if not folder.is_dir():
        raise UsageError(f"--data: {folder} is no folder; {task} reads a folder of pictures ({', '.join(ENDINGS)})")
    files = picture_files(folder)
    if not files:
        raise UsageError(
            f"--data: {folder} holds no picture; {task} reads {', '.join(ENDINGS)} files that lie in it, with captions "
            f"in {METADATA} if there are any"
        )
    captions = _captions(folder, files) if captioned else {}
    return [{"name": path.name, "content": path, **captions.get(path.name, {})} for path in files]


def _captions(folder: Path, files: list[Path]) -> dict[str, dict[str, str]]:
    path = folder / METADATA
    if not path.is_file():
        return {}
    names = [file.name for file in files]
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(read_rows(path), start=1):
        column = next((name for name in CAPTIONS if isinstance(row.get(name), str)), None)
        if not isinstance(row.get("file_name"), str) or column is None:
            raise UsageError(
                f"--data: row {number} of {path} has the columns {', '.join(map(str, row)) or 'none'}; expected "
                f"file_name and a text in {' or '.join(CAPTIONS)}"
            )
        if row["file_name"] not in names:
            raise UsageError(
                f"--data: row {number} of {path} is about {row['file_name']!r}, which is no picture in {folder}"
                f"{nearest(row['file_name'], names)}"
            )
        found[row["file_name"]] = {"prompt": row[column]}
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(f"--data: {path} has no caption for {missing[0]}; expected one for every picture, or no file")
    return found


def hub_rows(task: str, hub: str) -> list[Row]:
    """Return the pictures of a data set on the hub.

    Raises:
        UsageError: If it can neither be found in the cache nor be fetched, or has no column of pictures.
    """
    # It takes a second to import, which local pictures need not spend.
    import datasets

    try:
        found = datasets.load_dataset(hub, split="train")
    except (OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        raise UsageError(
            f"--tasks: {task} reads the pictures of {hub} from the hub, which is not cached and cannot be reached "
            f"({reason}); --data FOLDER reads local pictures instead, {', '.join(ENDINGS)} files in FOLDER or in "
            f"FOLDER/{task}"
        ) from None
    if "image" not in found.column_names:
        raise UsageError(f"--tasks: {hub} has the columns {', '.join(found.column_names)}; {task} expects image")
    stored = found.cast_column("image", datasets.Image(decode=False))["image"]
    return [{"name": f"{number:03d}", "content": _content(entry)} for number, entry in enumerate(stored)]


def _content(entry: dict[str, object]) -> Content:
    content, path = entry.get("bytes"), entry.get("path")
    return content if isinstance(content, bytes) else Path(str(path))
