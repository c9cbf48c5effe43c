from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pocket.curricula import is_held_out
from benchmarks.pocket.standard_library import (
    PASSAGE_CHARACTERS,
    docstrings,
    library_document,
    library_files,
    library_texts,
    passages,
)

SOURCE = '"""A module docstring that is long enough to be kept here."""\n\n\ndef f():\n    """Short."""\n'


def test_passages_lose_nothing_and_end_at_line_ends() -> None:
    source = "".join(f"line number {number} of a long text\n" for number in range(200))
    cut = passages(source)
    assert "".join(cut) == source
    assert all(text.endswith("\n") for text in cut)
    assert max(map(len, cut)) < PASSAGE_CHARACTERS + 40


def test_docstrings_are_found_and_short_ones_left_out() -> None:
    assert docstrings(SOURCE) == ["A module docstring that is long enough to be kept here."]


def test_tests_and_installed_packages_are_left_out(tmp_path: Path) -> None:
    for name in ("a.py", "b/c.py", "test/d.py", "site-packages/e.py", "b/__pycache__/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(SOURCE)
    assert [path.as_posix() for path in library_files(tmp_path)] == ["a.py", "b/c.py"]


def test_whole_files_are_held_out(tmp_path: Path) -> None:
    names = [f"m{number}.py" for number in range(100)]
    for name in names:
        (tmp_path / name).write_text(f'"""The module called {name} has a docstring that is long enough."""\n')
    held_out = library_texts(held_out=True, root=tmp_path)
    trained = library_texts(held_out=False, root=tmp_path)
    assert not set(held_out) & set(trained)
    for name in names:
        assert any(name in text for text in (held_out if is_held_out(name) else trained))
        assert not any(f"called {name} " in text for text in (trained if is_held_out(name) else held_out))


def test_a_folder_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no Python sources"):
        library_texts(held_out=False, root=tmp_path)


def test_every_passage_comes_once_before_any_comes_twice() -> None:
    texts = library_texts(held_out=True)
    first = [library_document(index, seed=0, held_out=True) for index in range(len(texts))]
    assert sorted(first) == sorted(texts)
    second = [library_document(index + len(texts), seed=0, held_out=True) for index in range(len(texts))]
    assert sorted(second) == sorted(texts)
    assert second != first
