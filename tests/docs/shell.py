"""The commands of a page, run in this process or read by their own parsers.

A command that cannot be run here (it needs a network, a GPU, or minutes) is still read and checked by its own parser,
so that a flag that was renamed is found. What prepares a machine (pip, make) is compared with what the project
declares.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from analysis.measure.settings import read_settings
from benchmarks.claims.options import read_options
from benchmarks.command_line import read_given
from tests.docs.blocks import Block, PageError

ROOT = Path(__file__).parents[2]
TINY_MODEL = "tiny-model"
#: What makes a command small: the mark `quick`.
QUICK = {
    "benchmarks.compare": f"--model {TINY_MODEL} --steps 4 --batch-size 4 --evaluations 2 --evaluation-examples 4 "
    "--test-examples 4 --measure-examples 4 --max-products 30 --device cpu --threads 1",
    "analysis.measure": "--examples 4 --block-size 2 --top 1 --max-products 20 --draws 2 --points 3 --device cpu",
    "benchmarks.score": "--limit 2 --device cpu",
}
#: Commands whose settings are checked beyond what argparse reads.
_READERS = {"benchmarks.compare": read_given, "analysis.measure": read_settings, "benchmarks.claims": read_options}


class _Read(Exception):
    """The command line was read to its end without a complaint."""


def commands(text: str) -> list[list[str]]:
    """Return the words of every command; a backslash goes on in the next line, `&&` begins another, # ends one."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            found.append(words[: words.index("&&")])
            words = words[words.index("&&") + 1 :]
        found.append(words)
    return [words for words in found if words]


def run_block(block: Block) -> None:
    """Run or read every command of a block."""
    with patch.dict(os.environ):
        for words in commands(block.changed):
            try:
                _run(words, block)
            except PageError as error:
                raise PageError(f"{block.place}: {error}") from None


def _run(words: list[str], block: Block) -> None:
    while "=" in words[0] and words[0].partition("=")[0].isidentifier():
        name, _, value = words.pop(0).partition("=")
        os.environ[name] = value
    match words:
        case ["make", *targets]:
            _check_targets(targets)
        case ["pip", "install", *what]:
            _check_extras(what)
        case ["torchrun", *_]:
            from torch.distributed.run import get_args_parser

            with _read_only():
                given = get_args_parser().parse_args(words[1:])
            read(given.training_script, given.training_script_args)
        case ["python", "-m", module, *arguments]:
            if block.given("parse"):
                read(module, arguments)
            else:
                start(module, [*arguments, *_added(module, block)])
        case ["python", script, *arguments]:
            run_script(ROOT / script, arguments)
        case _:
            raise PageError(f"nobody knows how to run {' '.join(words)!r}; mark the block as shown, and say why")


def _added(module: str, block: Block) -> list[str]:
    more = [word for flags in block.given("with") for word in shlex.split(flags)]
    if block.given("quick"):
        more += shlex.split(QUICK[module])
    return more


def main_of(module: str) -> Any:
    """Return the function that `python -m MODULE` calls.

    Raises:
        PageError: If there is no such command.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise PageError(f"there is no module {module}")
    packaged = spec.submodule_search_locations is not None
    return importlib.import_module(f"{module}.__main__" if packaged else module).main


def start(module: str, arguments: Sequence[str]) -> None:
    """Run a command in this process, and expect that it ends well."""
    main = main_of(module)
    with patch.object(sys, "argv", [module, *arguments]):
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = end.code
    if code not in (0, None):
        raise PageError(f"python -m {module} {shlex.join(arguments)} ended with {code}")


def run_script(script: Path, arguments: Sequence[str]) -> None:
    """Run a file of the project as a program."""
    if not script.is_file():
        raise PageError(f"there is no file {script.relative_to(ROOT)}")
    with patch.object(sys, "argv", [str(script), *arguments]):
        runpy.run_path(str(script), run_name="__main__")


def read(module: str, arguments: Sequence[str]) -> None:
    """Let a command read its arguments, and stop it there.

    Raises:
        PageError: If it complains.
    """
    main = main_of(module)
    try:
        if module in _READERS:
            _READERS[module](list(arguments))
            return
        with _read_only(raising=True):
            code = main(list(arguments))
    except _Read:
        return
    except (SystemExit, ValueError) as error:
        raise PageError(f"python -m {module} {shlex.join(arguments)}: {error}") from None
    raise PageError(f"python -m {module} {shlex.join(arguments)} ended with {code} before it had read its arguments")


@contextmanager
def _read_only(*, raising: bool = False) -> Iterator[None]:
    """Let parsers complain by an exception, and with `raising` end a command once its outermost parser is content."""
    depth = 0
    own = argparse.ArgumentParser.parse_known_args

    def parse_known_args(self: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            result = own(self, *given, **named)
        finally:
            depth -= 1
        if raising and depth == 0 and not result[1]:
            raise _Read
        return result

    def error(self: argparse.ArgumentParser, message: str) -> NoReturn:
        raise ValueError(message)

    with (
        patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        patch.object(argparse.ArgumentParser, "error", error),
    ):
        yield


def _check_targets(targets: Sequence[str]) -> None:
    known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    if missing := [target for target in targets if target not in known]:
        raise PageError(f"the Makefile has no target {missing[0]!r}; it has {', '.join(known)}")


def _check_extras(what: Sequence[str]) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for requirement in what:
        for extra in re.findall(r"(?:^\.|^bilora)\[([\w,-]+)\]", requirement):
            if missing := set(extra.split(",")) - set(known):
                raise PageError(f"pyproject.toml has no extra {missing}; it has {', '.join(known)}")
