"""One page for every command, from its docstring and its own `--help`.

The help is taken in this process: torch is then imported once instead of twenty times, which is the difference between
a second and two minutes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Characters in a line of the help; what a page of the site shows without scrolling.
WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command and the help texts that it has.

    Attributes:
        name: As after `python -m`.
        subcommands: Names that have a help of their own.
        for_users: Whether people compare and measure with it; the others are how this project measures itself.
    """

    name: str
    subcommands: tuple[str, ...] = ()
    for_users: bool = True

    @property
    def module(self) -> str:
        """The module that holds `main`."""
        module = importlib.util.find_spec(self.name)
        packaged = module is not None and module.submodule_search_locations is not None
        return f"{self.name}.__main__" if packaged else self.name

    @property
    def page(self) -> str:
        """The page's name."""
        return self.name.replace(".", "-")


COMMANDS = (
    Command(name="benchmarks.compare"),
    Command(name="benchmarks.methods"),
    Command(name="benchmarks.score"),
    Command(name="benchmarks.claims"),
    Command(name="benchmarks.efficiency"),
    Command(name="analysis.measure"),
    Command(name="reports.render"),
    Command(name="benchmarks.calibrate", for_users=False),
    Command(name="benchmarks.claims.board", for_users=False),
    Command(name="benchmarks.curvature", subcommands=("peers", "large", "scaling", "plot"), for_users=False),
    Command(name="benchmarks.diffusion.drawing_cost", for_users=False),
    Command(name="benchmarks.multi_gpu", for_users=False),
    Command(name="benchmarks.pocket.pretrain", for_users=False),
    Command(name="benchmarks.reliability", subcommands=("kills", "fuzz", "overhead"), for_users=False),
    Command(name="benchmarks.report_cost", for_users=False),
    Command(name="benchmarks.world_size", for_users=False),
)


def help_text(command: Command, arguments: Sequence[str] = ()) -> str:
    """Return what `python -m NAME ARGUMENTS --help` prints.

    Raises:
        RuntimeError: If the command does not answer `--help` with its help.
    """
    given = [*arguments, "--help"]
    module = importlib.import_module(command.module)
    printed = io.StringIO()
    argv, columns = sys.argv, os.environ.get("COLUMNS")
    sys.argv, os.environ["COLUMNS"] = [module.__file__ or command.name, *given], str(WIDTH)
    code: object = 0
    try:
        with contextlib.redirect_stdout(printed):
            code = module.main(given) if module.main.__code__.co_argcount else module.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    if code not in (0, None) or not printed.getvalue().startswith("usage:"):
        raise RuntimeError(f"python -m {command.name} --help ended with {code}: {printed.getvalue()[:200]}")
    return printed.getvalue().rstrip() + "\n"


def page(command: Command) -> str:
    """Return the page of a command in Markdown."""
    module = importlib.import_module(command.module)
    first, _, rest = (module.__doc__ or "").strip().partition("\n\n")
    lines = [f"# {command.name}", "", first, "", rest.strip(), "", f"## python -m {command.name}", ""]
    lines += ["```text", help_text(command).rstrip(), "```", ""]
    for name in command.subcommands:
        lines += [f"## python -m {command.name} {name}", ""]
        lines += ["```text", help_text(command, [name]).rstrip(), "```", ""]
    return "\n".join(lines)


def write_pages(folder: Path) -> None:
    """Write the pages and the one that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        (folder / f"{command.page}.md").write_text(page(command), encoding="utf-8")
    lines = ["# Commands", "", "Every page is what the command prints for `--help`, taken when this site was built."]
    for title, users in (("Comparing and measuring", True), ("How this project measures itself", False)):
        lines += ["", f"## {title}", "", "```{toctree}", ":maxdepth: 1", ""]
        lines += [command.page for command in COMMANDS if command.for_users is users] + ["```"]
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
