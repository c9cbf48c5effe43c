"""Runs a page: every block in order, in a folder of its own, as a reader would."""

from __future__ import annotations

import contextlib
import io
import sys
import types
import warnings
from pathlib import Path

import pytest

from tests.docs.blocks import Block, PageError, blocks
from tests.docs.setups import SETUPS, Names
from tests.docs.shell import TINY_MODEL, run_block
from tests.models import save_tiny_model


def run_page(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str) -> Names:
    """Run the blocks of a page in `folder`; returns the names that its Python has made."""
    found = blocks(path, name=name)
    # Classes of a page need a module that can be found by its name.
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(folder)
    if any(block.given("quick") for block in found):
        save_tiny_model(folder / TINY_MODEL)
    printed = ""
    with warnings.catch_warnings():
        for block in found:
            if block.given("output"):
                check_output(block, printed)
            else:
                printed = _run(block, folder, vars(module), monkeypatch)
    return vars(module)


def check_output(block: Block, printed: str) -> None:
    """Compare what a page says is printed with what was.

    Raises:
        PageError: If a part of it was not printed, or not in this order.
    """
    rest = printed
    for part in block.changed.split("\n...\n"):
        wanted = "\n".join(line.rstrip() for line in part.strip("\n").splitlines())
        _, found, rest = "\n".join(line.rstrip() for line in rest.splitlines()).partition(wanted)
        if not found:
            raise PageError(f"{block.place}: this was not printed:\n{wanted}\nbut this was:\n{printed}")


def _run(block: Block, folder: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run one block; returns what it printed."""
    for name in block.given("setup"):
        if name not in SETUPS:
            raise PageError(f"{block.place}: there is no setup {name!r} in tests/docs/setups.py")
        SETUPS[name](folder, names, monkeypatch)
    for file in block.given("file"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(block.changed, encoding="utf-8")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block.given("shown"):
            pass
        elif block.language == "python":
            exec(compile(block.changed, block.place, "exec"), names)
        elif block.language == "sh":
            try:
                run_block(block)
            except PageError as error:
                raise PageError(f"{error}; it had printed:\n{printed.getvalue()}") from None
    return printed.getvalue()
