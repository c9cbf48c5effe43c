"""The flags of `python -m benchmarks.claims`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import parsing
from benchmarks.claims.registry import GROUPS, check_groups
from benchmarks.claims.scope import Scope
from benchmarks.errors import UsageError
from benchmarks.flags import read_device, read_flags
from benchmarks.models import locate_model, shipped_models
from benchmarks.one_line_parser import OneLineParser
from benchmarks.settings import CompareSettings
from benchmarks.tasks import TASKS, create_task
from benchmarks.tasks.data_task import DataTask

#: Everything that no flag changes.
DEFAULTS = CompareSettings()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is asked to do.

    Attributes:
        groups: Names of the groups of claims to decide.
        scope: Tasks, seeds and settings of the runs.
        out: Folder of the runs and of the board.
        workers: Runs at once.
        threads: CPU threads of each of them.
        dry_run: Whether the runs are listed and none is made.
        list_only: Whether the claims are listed and nothing else is done.
    """

    groups: tuple[str, ...]
    scope: Scope
    out: Path
    workers: int
    threads: int
    dry_run: bool
    list_only: bool


def read_options(arguments: Sequence[str]) -> Options:
    """Read and check the command line.

    Raises:
        UsageError: At the first flag that cannot be used.
    """
    raw = _parser().parse_args(arguments)
    whole = parsing.integer(minimum=1)
    readers = {
        "claims": parsing.names,
        "tasks": parsing.names,
        "seeds": whole,
        "out": parsing.path,
        "workers": whole,
        "threads": parsing.optional(whole),
        "cuda_graphs": parsing.switch,
        "model": parsing.optional(parsing.text),
        "steps": parsing.optional(whole),
        "test_examples": parsing.optional(whole),
    }
    values = read_flags(raw, readers)
    check_groups(values["claims"])
    for name in values["tasks"]:
        if isinstance(create_task(name), DataTask):
            raise UsageError(
                f"--tasks: {name} reads data that do not ship with the project; the board takes "
                f"{', '.join(available_tasks())} (python -m benchmarks.compare trains on others)"
            )
    if values["model"] is not None:
        # A base that is not there would leave every question undecided, in a board that looks finished.
        locate_model(values["model"])
    settings = replace(
        DEFAULTS,
        device=read_device(raw).type,
        **{name: values[name] for name in ("seeds", "out", "cuda_graphs", "model", "steps", "test_examples")},
    )
    return Options(
        groups=values["claims"],
        scope=Scope(settings, values["tasks"]),
        out=values["out"],
        workers=values["workers"],
        threads=values["threads"] or max(1, (os.cpu_count() or 1) // values["workers"]),
        dry_run=raw.dry_run,
        list_only=raw.list,
    )


def available_tasks() -> list[str]:
    """Return the tasks whose base ships with the project."""
    return [name for name, task in TASKS.items() if task.base in shipped_models()]


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m benchmarks.claims",
        description="Run what is missing and say of each claim of the Bi-LoRA paper whether it holds here.",
        epilog="claims:\n" + "\n".join(f"  {name:<16}{text}" for name, text in GROUPS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag, default, metavar, text in (
        ("claims", ",".join(GROUPS), "A,B", "claims to decide (default: all)"),
        ("tasks", ",".join(available_tasks()), "A,B", "tasks; ablations are made on the first (default: %(default)s)"),
        ("seeds", "5", "N", "paired seeds 0 to N-1 (default: %(default)s)"),
        ("out", "claims", "FOLDER", "runs, claims.json, claims.md, claims.html (default: %(default)s)"),
        ("workers", "1", "N", "runs at once, each a process of its own (default: %(default)s)"),
        ("threads", "none", "N", "CPU threads of each; none: the cores, divided among them"),
        ("device", "auto", "NAME", "auto, cpu or cuda (default: %(default)s)"),
        (
            "cuda-graphs",
            "false",
            "true|false",
            "replay passes where a method and its adapter allow it (default: false)",
        ),
        ("model", "none", "NAME", "base for all tasks; none: each task's own"),
        ("steps", "none", "N", "optimizer steps; none: as calibrated"),
        ("test-examples", "none", "N", "test examples to score; none: all"),
    ):
        parser.add_argument(f"--{flag}", default=default, metavar=metavar, help=text)
    parser.add_argument("--dry-run", action="store_true", help="list the runs and the time they take, and stop")
    parser.add_argument("--list", action="store_true", help="print the claims with their rules, and stop")
    return parser
