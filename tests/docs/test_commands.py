"""Every command has a page, and the page is what the command says of itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from docs.pages.commands import COMMANDS, WIDTH, Command, help_text, page, write_pages

ROOT = Path(__file__).parents[2]
# Started by other modules with what those pass: they have no command line for people.
INTERNAL = {"benchmarks.sandbox.inside", "benchmarks.claims.worker", "benchmarks.reliability.launcher"}


def started_by_name() -> set[str]:
    """Names of all modules that do something under `python -m`."""
    found = set()
    for package in ("bilora", "analysis", "benchmarks", "reports"):
        for path in (ROOT / package).rglob("*.py"):
            if re.search(r'^if __name__ == "__main__":', path.read_text(), flags=re.MULTILINE):
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    return found


def test_every_module_that_can_be_started_has_a_page_or_is_internal() -> None:
    listed = {command.name for command in COMMANDS}
    listed |= {f"{command.name}.{name}" for command in COMMANDS for name in command.subcommands}
    assert started_by_name() - INTERNAL <= listed
    assert {command.name for command in COMMANDS} <= started_by_name()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_page_holds_the_help(command: Command) -> None:
    text = page(command)
    assert text.startswith(f"# {command.name}\n")
    assert text.count("usage:") >= 1 + len(command.subcommands)
    usage, _, _ = help_text(command).partition("\n\n")
    assert all(len(line) <= WIDTH for line in usage.splitlines())


def test_a_command_without_help_stops_the_build() -> None:
    with pytest.raises((RuntimeError, AttributeError)):
        help_text(Command(name="benchmarks.errors"))


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    help_text(Command(name="benchmarks.methods"))
    assert "COLUMNS" not in os.environ


def test_all_pages_are_listed(tmp_path: Path) -> None:
    write_pages(tmp_path)
    index = (tmp_path / "index.md").read_text().splitlines()
    assert all((tmp_path / f"{command.page}.md").is_file() and command.page in index for command in COMMANDS)
