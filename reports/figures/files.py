"""Writes all drawings of a report; PNG and PDF in a process of their own where that is wanted.

A third of a large report's time goes into PNG and PDF, which nothing else waits for. A forked process has the drawings
already; only a command that has loaded nothing but the report may fork, since libraries with threads of their own, such
as torch, need not survive it. The files are the same either way.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from reports.figures.canvas import Drawing, save_prints, save_svg


class FigureFiles:
    """The files of some drawings while they are written: SVG on construction, all of them after `finish`."""

    def __init__(self, drawings: Sequence[Drawing], folder: Path, *, apart: bool) -> None:
        self._drawings, self._folder = drawings, folder
        self._process: BaseProcess | None = None
        if apart and "fork" in multiprocessing.get_all_start_methods():
            self._process = multiprocessing.get_context("fork").Process(target=self._print)
            with warnings.catch_warnings():
                # Python 3.12 warns of any fork beside threads; those of the linear algebra library are made to bear it.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process.start()
        for drawing in drawings:
            save_svg(drawing, folder)

    def finish(self) -> tuple[Path, ...]:
        """Return the paths of all files once they are written: PNG, PDF and SVG of each drawing."""
        if self._process is not None:
            self._process.join()
        # What went wrong over there is done again here, where it can be told.
        if self._process is None or self._process.exitcode != 0:
            self._print()
        names = (drawing.name for drawing in self._drawings)
        return tuple(self._folder / f"{name}.{suffix}" for name in names for suffix in ("png", "pdf", "svg"))

    def _print(self) -> None:
        for drawing in self._drawings:
            save_prints(drawing, self._folder)
