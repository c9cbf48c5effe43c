"""Damaged folders of runs, which `reports.render` must turn into a page or refuse."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from benchmarks.reliability.damage import (
    SCRIPT,
    damaged_file,
    damaged_tree,
    is_small_file,
    json_text,
)
from benchmarks.reliability.stores import write_small_store
from benchmarks.reliability.target import ACCEPTED, Target, Unanswered, refusal
from reports.fields import RunStoreError
from reports.render import render

#: Share of the run folders whose report is rendered with its figures.
_DRAWN = 0.01


class StoreTarget(Target):
    """Folders of runs, for `reports.render`."""

    name = "run folders"
    share = 0.15

    def __init__(self, folder: Path, outside: Path) -> None:
        super().__init__(folder, outside)
        self._good = folder / "store"
        write_small_store(self._good)
        render(self._good, folder / "report")  # matplotlib makes its caches on the first call
        self._files = [path.relative_to(self._good) for path in sorted(self._good.rglob("*")) if path.is_file()]

    def answer(self, place: Path, draw: random.Random) -> str:
        """See `Target.answer`: the page must be written, and show nothing that a browser would run."""
        store = place / "store"
        shutil.copytree(self._good, store)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            path = store / draw.choice(self._files)
            if path.suffix == ".json" and is_small_file(path) and draw.random() < 0.7:
                with contextlib.suppress(ValueError):
                    tree = json.loads(path.read_bytes())
                    path.write_text(json_text(damaged_tree(tree, draw, times=draw.choice((1, 1, 3)))))
            elif path.exists():
                damaged_file(path, draw, outside=self.outside)
        if draw.random() < 0.02:
            (store / "report").symlink_to(self.outside)
        try:
            # A figure takes a hundred times as long as all that is read and printed.
            with contextlib.nullcontext() if draw.random() < _DRAWN else _without_figures():
                result = render(store)
        except RunStoreError as error:
            return refusal(error)
        if SCRIPT in result.page.read_text(encoding="utf-8"):
            raise Unanswered("the page holds a script of the input as it is")
        return ACCEPTED


@contextlib.contextmanager
def _without_figures() -> Iterator[None]:
    with patch("reports.sections.draw_task", return_value=()), patch("reports.sections.draw_summary", return_value=()):
        yield
