"""Text that every Python installation carries: the standard library's sources and its docstrings.

Sources are cut into passages at line ends; docstrings are taken out with `ast` and stand alone, as plain English
about code. Whole files are held out, by a checksum of their path, so that no passage of a held-out file is trained
on. Tests, installed packages and files that are mostly data are left out. What is read depends on the running
Python's version, which the model card names; nothing is downloaded.
"""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.pocket.curricula import is_held_out

PASSAGE_CHARACTERS = 640
_SHORTEST = 40
_SKIPPED_FOLDERS = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "encodings",
    "pydoc_data",
}


def library_files(root: Path) -> list[Path]:
    """List the Python files below `root` that are used, as sorted paths relative to it."""
    relative = (path.relative_to(root) for path in root.rglob("*.py"))
    return sorted(path for path in relative if not _SKIPPED_FOLDERS & set(path.parts))


def passages(source: str) -> list[str]:
    """Cut a source text at line ends into passages of about `PASSAGE_CHARACTERS` characters."""
    cut: list[str] = []
    lines: list[str] = []
    length = 0
    for line in source.splitlines(keepends=True):
        lines.append(line)
        length += len(line)
        if length >= PASSAGE_CHARACTERS:
            cut.append("".join(lines))
            lines, length = [], 0
    if lines:
        cut.append("".join(lines))
    return [text for text in cut if len(text.strip()) >= _SHORTEST]


def docstrings(source: str) -> list[str]:
    """Collect the cleaned docstrings of a module and of its classes and functions."""
    with warnings.catch_warnings():
        # Old modules hold invalid escapes; they are text to us, not code to run.
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) >= _SHORTEST:
                found.append(inspect.cleandoc(text))
    return found


@cache
def library_texts(*, held_out: bool, root: Path | None = None) -> tuple[str, ...]:
    """Return all passages and docstrings of the standard library.

    Args:
        held_out: Texts of the files kept out of training instead of those trained on.
        root: Folder of the standard library; by default the running Python's.

    Returns:
        The texts in the order of the sorted file names.

    Raises:
        ValueError: If the folder holds no Python sources (as in some stripped installations).
    """
    root = Path(sysconfig.get_paths()["stdlib"]) if root is None else root
    texts: list[str] = []
    for path in library_files(root):
        if is_held_out(path.as_posix()) != held_out:
            continue
        try:
            source = (root / path).read_text(encoding="utf-8")
            texts += passages(source)
            for docstring in docstrings(source):
                texts += passages(docstring)
        except (UnicodeDecodeError, SyntaxError):
            # Fixtures with deliberate errors and other encodings; none of them is ordinary source.
            continue
    if not texts:
        raise ValueError(f"standard library: found no Python sources in {root}, expected the folder of Python's Lib")
    return tuple(texts)


def library_document(index: int, *, seed: int, held_out: bool) -> str:
    """Return document `index`: passages in a shuffled order that repeats with a new shuffle when all were used."""
    texts = library_texts(held_out=held_out)
    epoch, position = divmod(index, len(texts))
    return texts[_order(len(texts), seed, epoch)[position]]


@cache
def _order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(count))
    Random(f"{seed}/library/{epoch}").shuffle(order)
    return tuple(order)
