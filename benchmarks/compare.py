"""`python -m benchmarks.compare`: train, score and measure methods side by side, and write one report.

The command is idempotent: runs that are finished are kept and the same command does what is missing. A run that
fails is marked in the report and does not stop the others. Under `torchrun` or `accelerate launch` every run is trained
and measured by all ranks together, and the first rank alone scores, writes and prints.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import ranks
from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.choices import label_of
from benchmarks.conventions import conventions, prompt_sentence
from benchmarks.dry_run import plan_comparison
from benchmarks.environment import environment
from benchmarks.errors import UsageError
from benchmarks.execution import EXIT_RUN_FAILED
from benchmarks.executors import Executor, check_executor, open_executor
from benchmarks.harness.comparison import plan_scoring, score_runs
from benchmarks.harness.measures import HarnessTask
from benchmarks.plan_text import config_text, print_plan, print_presets
from benchmarks.presets import Preset, preset_record
from benchmarks.rank_checks import check_ranks
from benchmarks.request import Comparison, read_request
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.storage import StorageError, storing
from benchmarks.store import SCHEMA, RunStore
from benchmarks.summary import print_summary
from benchmarks.tuning import Outcome, plan_sentence, tune, tuned
from benchmarks.written import now, write_json
from reports.render import render

EXIT_OK, EXIT_USAGE, EXIT_INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: all done, 1: a run failed, 2: bad input, 130: interrupted)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    console = Console(quiet=not ranks.is_first())
    command = shlex.join(["python", "-m", "benchmarks.compare", *arguments])
    try:
        request = read_request(arguments)
        if request.given.list_presets:
            print_presets(console)
            return EXIT_OK
        if request.given.print_config:
            settings = request.comparisons[0].settings
            plan = f"# {_tuning_plan(settings)}\n" if settings.tune else ""
            console.out(config_text(request) + plan, end="", highlight=False)
            return EXIT_OK
        if request.given.dry_run:
            print_plan(request, [plan_comparison(comparison) for comparison in request.comparisons], console)
            return EXIT_OK
        # All are planned before the first one starts, so that what is wrong with the last one is said now.
        planned = [(comparison, *comparison.plan()) for comparison in request.comparisons]
        for comparison, specs, folders in planned:
            check_ranks(specs, folders)
            check_executor(comparison.settings, specs[0].device)
        for comparison, _, _ in planned:
            RunStore(comparison.settings.out).check_writable()
        harness_tasks = [plan_scoring(comparison.settings) for comparison, _, _ in planned]
        for comparison, _, _ in planned:
            RunStore(comparison.settings.out).create()
        executor = _executor(planned)
    except UsageError as error:
        if ranks.is_first():
            print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    failures = 0
    ranks.join(planned[0][1][0].device)
    try:
        with executor:
            for (comparison, specs, model_folders), tasks in zip(planned, harness_tasks, strict=True):
                failures += _compare(
                    comparison,
                    specs,
                    model_folders,
                    tasks,
                    executor=executor,
                    preset=request.preset,
                    command=command,
                    console=console,
                )
    except KeyboardInterrupt:
        print("interrupted; finished runs are kept, the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except StorageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_RUN_FAILED
    finally:
        ranks.leave()
    return EXIT_RUN_FAILED if failures else EXIT_OK


def _executor(planned: Sequence[tuple[Comparison, Sequence[RunSpec], Mapping[str, Path]]]) -> Executor:
    """Return the one executor of all comparisons, whose workers are kept from one to the next."""
    settings, device = planned[0][0].settings, planned[0][1][0].device
    return open_executor(settings, device, [folder for _, _, folders in planned for folder in folders.values()])


def _compare(
    comparison: Comparison,
    specs: Sequence[RunSpec],
    model_folders: Mapping[str, Path],
    harness_tasks: Sequence[HarnessTask],
    *,
    executor: Executor,
    preset: Preset | None,
    command: str,
    console: Console,
) -> int:
    """Carry out one comparison and write its report; returns the number of runs that failed."""
    settings, store = comparison.settings, RunStore(comparison.settings.out)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if (prompts := prompt_sentence(settings, model_folders)) is not None:
        console.print(prompts, highlight=False, soft_wrap=True)
    policy = CheckpointPolicy.of(settings.checkpoint_every)
    outcomes: list[Outcome] = []
    if settings.tune is not None:
        console.print(_tuning_plan(settings), highlight=False, soft_wrap=True)
        outcomes = tune(
            specs,
            settings.tune,
            executor=executor,
            model_folders=model_folders,
            store=store,
            console=console,
            policy=policy,
        )
        specs = tuned(specs, outcomes)
    described = None if preset is None or comparison.part is None else preset_record(preset, comparison.part)
    first = ranks.is_first()
    if first:
        describe(
            settings, specs, store=store, command=command, folders=model_folders, outcomes=outcomes, preset=described
        )
    failures = executor.run_all(specs, model_folders=model_folders, store=store, console=console, policy=policy)
    if first:
        failures += score_runs(harness_tasks, specs, model_folders=model_folders, store=store, console=console)
        report(specs, store=store, console=console)
    ranks.wait()
    return failures


def _tuning_plan(settings: CompareSettings) -> str:
    return plan_sentence(
        methods=len(settings.methods), tasks=len(settings.tasks), seeds=settings.seeds, count=settings.tune or 0
    )


def describe(
    settings: CompareSettings,
    specs: Sequence[RunSpec],
    *,
    store: RunStore,
    command: str,
    outcomes: Sequence[Outcome] = (),
    folders: Mapping[str, Path],
    preset: Mapping[str, Any] | None = None,
) -> None:
    """Write comparison.json: what is compared, under which conventions, on what.

    It is there before the first run, so that a report can be made of whatever a killed command has finished.
    """
    with storing(store.folder):
        write_json(store.folder / "comparison.json", _description(settings, specs, command, outcomes, folders, preset))


def _description(
    settings: CompareSettings,
    specs: Sequence[RunSpec],
    command: str,
    outcomes: Sequence[Outcome],
    folders: Mapping[str, Path],
    preset: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": command,
        "created": now(),
        "methods": list(dict.fromkeys(spec.label for spec in specs)),
        "tasks": list(dict.fromkeys(spec.task for spec in specs)),
        "seeds": sorted({spec.seed for spec in specs}),
        "baseline": label_of(settings.baseline, quantize=settings.quantize),
        "runs": [spec.key for spec in specs],
        "planned": [{"key": s.key, "method": s.label, "task": s.task, "seed": s.seed} for s in specs],
        "tuning": [found.as_dict() for found in outcomes],
        "preset": preset,
        "conventions": conventions(settings, folders) | ({} if preset is None else {"Preset": preset["sentence"]}),
        # A cluster's GPUs are its workers', whose runs name them.
        "environment": environment(torch.device(specs[0].device if torch.cuda.is_available() else "cpu")),
    }


def report(specs: Sequence[RunSpec], *, store: RunStore, console: Console) -> None:
    """Write results and report of the finished runs, and print a summary."""
    keys = [spec.key for spec in specs]
    if not any(store.is_complete(key) for key in keys):
        print("no run was finished, so there is nothing to report", file=sys.stderr)
        return
    # Two identical commands end at about the same time, and would write into each other's files.
    with store.claimed("report", wait=True), storing(store.folder):
        store.write_results(keys)
        render(store.folder, store.folder / "report")
    print_summary(specs, store, console)
    console.print(f"report: {store.folder / 'report' / 'index.html'}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    # A polite kill is an interruption too, as a cluster's scheduler sends it before the time is over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
