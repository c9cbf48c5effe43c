"""`python -m benchmarks.claims`: run what is missing, and say of each claim of the Bi-LoRA paper whether it holds here.

Runs are those of the ordinary store, shared between claims and kept: a stopped command goes on where it was, and a run
that failed leaves its claims undecided, with the reason, while the others go on.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.claims.board import cells, interval, summary, write_board
from benchmarks.claims.evidence import Evidence
from benchmarks.claims.options import Options, read_options
from benchmarks.claims.registry import GROUPS, all_questions
from benchmarks.claims.scope import Scope
from benchmarks.claims.verdict import Missing, Question, answer
from benchmarks.environment import environment
from benchmarks.errors import UsageError
from benchmarks.executors.grid import Grid
from benchmarks.executors.local import local_workers
from benchmarks.spec import RunSpec
from benchmarks.storage import StorageError, storing
from benchmarks.store import SCHEMA, RunStore
from benchmarks.written import now
from reports.fields import RunStoreError
from reports.run_folder import load_run

EXIT_OK, EXIT_RUN_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
#: Seconds of a run on two CPU cores, where no finished run says better.
TYPICAL_SECONDS = 45.0
_WIDTH = 180


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: all done, 1: a run failed, 2: bad input, 130: interrupted)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH  # of a log file, which wraps nothing
    try:
        options = read_options(arguments)
        store = RunStore(options.out)
        options.scope.is_finished = store.is_complete
        questions = all_questions(options.scope, options.groups)
        if options.list_only:
            return _list(questions, console)
        specs = needed(questions, options.scope)
        missing = [spec for spec in specs if not store.is_complete(spec.key)]
        if options.dry_run:
            return _dry_run(specs, missing, store, options, console)
        store.check_writable()
        store.create()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    command = shlex.join(["python", "-m", "benchmarks.claims", *arguments])
    try:
        try:
            failures = _run(specs, store, options, console)
        except KeyboardInterrupt:
            print("interrupted; finished runs are kept, the same command goes on from here", file=sys.stderr)
            _report(questions, options.scope, store, command, console)
            return EXIT_INTERRUPTED
        _report(questions, options.scope, store, command, console)
    except StorageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_RUN_FAILED
    return EXIT_RUN_FAILED if failures else EXIT_OK


def needed(questions: Iterable[Question], scope: Scope) -> list[RunSpec]:
    """Return the runs of all questions, each once, by seed; what this machine cannot run is left out."""
    found: dict[str, RunSpec] = {}
    for question in questions:
        for task in question.tasks:
            for arm in question.arms:
                try:
                    found |= {spec.key: spec for spec in scope.specs(arm, task)}
                except Missing:
                    continue
    return sorted(found.values(), key=lambda spec: spec.seed)


def _run(specs: Sequence[RunSpec], store: RunStore, options: Options, console: Console) -> int:
    workers = local_workers(
        device=options.scope.settings.device,
        workers=options.workers,
        threads=options.threads,
        logs=store.folder / "workers",
        share=True,
    )
    with Grid(workers) as grid:
        return grid.run_all(specs, model_folders=options.scope.folders, store=store, console=console)


def _report(questions: Sequence[Question], scope: Scope, store: RunStore, command: str, console: Console) -> None:
    evidence = Evidence(scope, store)
    answers = [answer(question, evidence).as_dict() for question in questions]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "command": command,
        "created": now(),
        "environment": environment(torch.device(scope.settings.device)),
        "made_on": evidence.machines,
        "tasks": list(scope.tasks),
        "seeds": scope.seeds,
        "claims": answers,
    }
    with storing(store.folder):
        write_board(store.folder, record)
    for name, title in GROUPS.items():
        shown = [claim for claim in answers if claim["group"] == name and not claim["detail"]]
        if not shown:
            continue
        table = Table("claim", "on", "measured (95 % interval)", "verdict", box=None, pad_edge=False, title=title)
        table.title_justify = "left"
        for claim in shown:
            table.add_row(claim["claim"], claim["scope"], interval(claim), cells(claim)[-1])
        console.print(table, highlight=False)
    console.print(summary(record), highlight=False)
    console.print(f"board: {store.folder / 'claims.html'}", highlight=False, soft_wrap=True)


def _list(questions: Sequence[Question], console: Console) -> int:
    for question in questions:
        line = f"{question.group}: {question.claim} ({question.source}; {question.scope})"
        console.print(f"{line}\n    {question.quantity}: holds {question.region} {question.unit}", highlight=False)
    return EXIT_OK


def _dry_run(
    specs: Sequence[RunSpec], missing: Sequence[RunSpec], store: RunStore, options: Options, console: Console
) -> int:
    waiting = {spec.key for spec in missing}
    for spec in specs:
        console.print(
            f"{'missing ' if spec.key in waiting else 'finished'} {spec.key}", highlight=False, soft_wrap=True
        )
    seconds = _seconds((spec.key for spec in specs if spec.key not in waiting), store)
    each = sum(seconds) / len(seconds) if seconds else TYPICAL_SECONDS
    origin = f"the {len(seconds)} finished ones took" if seconds else "on two CPU cores one takes"
    minutes = each * len(missing) / min(options.workers, max(1, len(missing))) / 60
    console.print(
        f"{len(specs)} runs, {len(specs) - len(missing)} finished; the rest takes about {minutes:.0f} min with "
        f"{options.workers} at once ({origin} about {each:.0f} s)",
        highlight=False,
        soft_wrap=True,
    )
    return EXIT_OK


def _seconds(keys: Iterable[str], store: RunStore) -> list[float]:
    found = []
    for key in keys:
        try:
            found.append(float(sum(load_run(store.runs / key).seconds.values())))
        except RunStoreError:
            continue
    return found


if __name__ == "__main__":
    # A polite kill is an interruption too: workers are stopped, and the board is written from what is there.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
