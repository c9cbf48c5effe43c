"""Files of drawings: the same from one process and from two, and written all the same where the second one fails."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from reports.figures import files
from reports.figures.canvas import Drawing, blank, save_prints, settle, sheet
from reports.figures.files import FigureFiles

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")


def drawing() -> Drawing:
    with sheet():
        figure, ((axes,),) = blank(1, 1, height=2.0)
        axes.plot([0, 1], [1, 2])
        settle(figure)
    return Drawing(name="line", title="Line", caption="A line.", alt="A line.", figure=figure)


def written(folder: Path, *, apart: bool) -> dict[str, bytes]:
    folder.mkdir()
    paths = FigureFiles([drawing()], folder, apart=apart).finish()
    assert paths == tuple(folder / f"line.{suffix}" for suffix in ("png", "pdf", "svg"))
    return {path.name: path.read_bytes() for path in paths}


def test_two_processes_write_the_same_files(tmp_path: Path) -> None:
    assert written(tmp_path / "one", apart=False) == written(tmp_path / "two", apart=True)


def test_what_fails_in_the_second_process_is_done_in_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.getpid()

    def only_here(drawing: Drawing, folder: Path) -> tuple[Path, Path]:
        if os.getpid() != here:
            os._exit(9)
        return save_prints(drawing, folder)

    monkeypatch.setattr(files, "save_prints", only_here)
    assert written(tmp_path / "failing", apart=True) == written(tmp_path / "one", apart=False)
