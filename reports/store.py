"""A whole run store: what a comparison planned, what finished, what failed, and what was found instead.

The folder is read only. Half-written, foreign or outdated run folders do not stop a report: each becomes a named
problem, and the runs that are missing become holes with their reasons. Refused is a folder that holds no
comparison, or a comparison of which no run can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reports.collection import baseline_of, known_order, origin, split
from reports.fields import Record, RunStoreError, check_schema, mapping, number, read_record, sequence, text
from reports.metric import Metric, read_metric
from reports.plans import Hole, Planned, Problem
from reports.run_folder import load_run
from reports.runs import Failure, Run
from reports.versions import differences


@dataclass(frozen=True, kw_only=True)
class Store:
    """A comparison with its runs, in the order in which the comparison planned them."""

    folder: Path
    command: str
    created: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    baseline: str
    conventions: Mapping[str, str]
    environment: Mapping[str, str]
    planned: tuple[Planned, ...]
    runs: tuple[Run, ...]
    holes: tuple[Hole, ...]
    problems: tuple[Problem, ...]
    #: One record a search of hyper-parameters: method, task, trials, the chosen one; empty if there was none.
    tuning: tuple[Record, ...] = ()
    #: The preset that the comparison was made from: its name, and which published rows belong to it; empty without one.
    preset: Record = field(default_factory=dict)
    #: Runs of a collection under other settings than the main one of their method; they are rows of the options table.
    others: tuple[Run, ...] = ()
    #: Where runs were not made alike, one sentence each.
    warnings: tuple[str, ...] = ()

    @property
    def preset_name(self) -> str:
        """Name of the preset, and of its part where it has several; empty without one."""
        name, part = text(self.preset, "name"), text(self.preset, "part")
        return f"{name} ({part})" if name and part else name

    def runs_of(self, task: str, method: str) -> tuple[Run, ...]:
        """Return the finished runs of one method on one task, by seed."""
        return self._by_place.get((task, method), ())

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, str], tuple[Run, ...]]:
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            found.setdefault((run.task, run.method), []).append(run)
        return {place: tuple(sorted(runs, key=lambda run: run.seed)) for place, runs in found.items()}

    def methods_of(self, task: str) -> tuple[str, ...]:
        """Return the methods that were planned on a task, in the order of the comparison."""
        here = {plan.method for plan in self.planned if plan.task == task}
        return tuple(method for method in self.methods if method in here)

    def metric_of(self, task: str) -> Metric:
        """Return the metric of a task; tasks without a finished run, and old runs, have a nameless `score`."""
        return next((read_metric(run.row) for run in self.runs if run.task == task), Metric())

    def why_no_run(self, task: str, method: str) -> str:
        """Say in one line why a method has no finished run on a task."""
        reasons = [h.reason for h in self.holes if h.planned.task == task and h.planned.method == method]
        return reasons[0] if reasons else "not planned in this comparison"


def task_slug(task: str) -> str:
    """Return a task's name as part of a file name: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", task)


def load_store(folder: Path | str) -> Store:
    """Load a run store; raises `RunStoreError` when there is no comparison or nothing to show."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RunStoreError(f"no folder {str(folder)!r}: give the --out folder of a benchmarks.compare command")
    if not (folder / "comparison.json").is_file():
        return _load_collection(folder)
    comparison = read_record(folder / "comparison.json")
    check_schema(comparison, "comparison.json")
    planned = _planned(comparison)
    problems: list[Problem] = []
    found = _load_runs(folder / "runs", {plan.key for plan in planned}, problems)
    runs = tuple(found[plan.key] for plan in planned if plan.key in found)
    if not runs:
        raise RunStoreError(
            f"{str(folder)!r} has no finished run of its {len(planned)} planned ones, so there is nothing to "
            f"show: run the stored command again ({text(comparison, 'command')})"
        )
    failed = _load_failures(folder / "failed", problems)
    holes = tuple(
        Hole(planned=plan, reason=_reason(plan.key, failed, problems)) for plan in planned if plan.key not in found
    )
    problems.extend(
        Problem(where=f"runs/{run.key}/{name}", what=fault) for run in runs for name, fault in run.faults.items()
    )
    return Store(
        folder=folder,
        command=text(comparison, "command"),
        created=text(comparison, "created"),
        methods=_names(comparison, "methods", (plan.method for plan in planned)),
        # A task of which no run was planned has nothing to show.
        tasks=tuple(
            n for n in _names(comparison, "tasks", (p.task for p in planned)) if any(p.task == n for p in planned)
        ),
        seeds=tuple(sorted({plan.seed for plan in planned})),
        baseline=text(comparison, "baseline"),
        conventions={name: str(value) for name, value in mapping(comparison, "conventions").items()},
        environment={name: str(value) for name, value in mapping(comparison, "environment").items()},
        planned=planned,
        runs=runs,
        holes=holes,
        problems=tuple(problems),
        preset=mapping(comparison, "preset"),
        tuning=tuple(entry for entry in sequence(comparison, "tuning") if isinstance(entry, dict)),
        warnings=differences(runs),
    )


def _load_collection(folder: Path) -> Store:
    """Load the runs of a folder that holds no comparison, or of the folders in it, each method's main setting first."""
    problems: list[Problem] = []
    # The parts of a preset lie side by side, each a comparison of its own; together they are one collection.
    places = [folder / "runs"] if (folder / "runs").is_dir() else sorted(folder.glob("*/runs"))
    found = {key: run for place in places for key, run in _load_runs(place, None, problems).items()}
    if not found:
        left_out = f" (left out {problems[0]})" if problems else ""
        raise RunStoreError(
            f"{str(folder)!r} holds no comparison.json, so it is not a run store, nor a run in runs/{left_out}: "
            f"give the --out folder of a benchmarks.compare or benchmarks.claims command"
        )
    runs, others, repeats = split(found)
    problems += [Problem(where=f"runs/{key}", what=reason) for key, reason in repeats.items()]
    problems += [
        Problem(where=f"runs/{run.key}/{name}", what=fault)
        for run in (*runs, *others)
        for name, fault in run.faults.items()
    ]
    methods = known_order({run.method for run in runs})
    command, created = origin(folder, found.values())
    return Store(
        folder=folder,
        command=command,
        created=created,
        methods=methods,
        tasks=tuple(sorted({run.task for run in runs})),
        seeds=tuple(sorted({run.seed for run in runs})),
        baseline=baseline_of(methods),
        conventions={},
        environment={},
        planned=tuple(Planned(key=run.key, method=run.method, task=run.task, seed=run.seed) for run in runs),
        runs=runs,
        holes=(),
        problems=tuple(problems),
        others=others,
        warnings=differences((*runs, *others)),
    )


def _planned(comparison: Record) -> tuple[Planned, ...]:
    plans = []
    for entry in sequence(comparison, "planned"):
        seed = number(entry, "seed") if isinstance(entry, dict) else None
        if seed is None:
            raise RunStoreError(f"comparison.json plans a run without key, method, task and seed: {entry!r}")
        plans.append(
            Planned(key=text(entry, "key"), method=text(entry, "method"), task=text(entry, "task"), seed=int(seed))
        )
    if not plans:
        raise RunStoreError("comparison.json plans no runs, so there is nothing to show")
    return tuple(plans)


def _names(comparison: Record, field: str, planned: Iterable[str]) -> tuple[str, ...]:
    """Return the listed names followed by planned ones that the list forgot, without repeats."""
    return tuple(dict.fromkeys([str(name) for name in sequence(comparison, field)] + list(planned)))


def _load_runs(folder: Path, wanted: set[str] | None, problems: list[Problem]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        # Runs are written under a dotted name and renamed when complete, so those are still in progress;
        # complete runs of another comparison in the same folder are simply not ours to show.
        if path.name.startswith(".") or not path.is_dir():
            continue
        if wanted is None or path.name not in wanted:
            if not (path / "run.json").is_file():
                problems.append(Problem(where=f"runs/{path.name}", what="no run.json: a foreign folder, left out"))
                continue
            if wanted is not None:
                continue
        try:
            found[path.name] = load_run(path)
        except RunStoreError as fault:
            problems.append(Problem(where=f"runs/{path.name}", what=str(fault)))
    return found


def _load_failures(folder: Path, problems: list[Problem]) -> dict[str, Failure]:
    failed: dict[str, Failure] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = read_record(path)
        except RunStoreError as fault:
            problems.append(Problem(where=f"failed/{path.name}", what=str(fault)))
            continue
        failed[path.stem] = Failure(stage=text(record, "stage"), message=text(record, "message"))
    return failed


def _reason(key: str, failed: Mapping[str, Failure], problems: list[Problem]) -> str:
    if key in failed:
        return str(failed[key])
    unusable = [problem.what for problem in problems if problem.where == f"runs/{key}"]
    return unusable[0] if unusable else "not finished yet: the same command again runs what is missing"
