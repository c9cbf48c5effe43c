"""`python -m benchmarks.grid_busy --executors ray,local`: how much of the time a grid's workers have a run at work.

Every executor carries out the same small comparison in an empty store, one run on a GPU (or on `--workers` processes
of a CPU). Written down for each: the share of the time from the first run's start to the last one's end in which
workers had a run at work, as `benchmarks.executors.busy` defines it, and what it was between the command's start and
the last run's end; the pauses from one run of a worker to its next; whether any run was done twice; and, on GPUs, the
utilisation that the driver reports meanwhile, which is another thing: a run at work leaves a small model's GPU idle
most of the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import parsing
from benchmarks.checkpoints import CheckpointPolicy
from benchmarks.environment import environment
from benchmarks.errors import UsageError
from benchmarks.executors import check_executor, open_executor
from benchmarks.executors.busy import Span, busy_seconds, busy_share, repeated_runs, wall_seconds
from benchmarks.executors.grid import Grid
from benchmarks.executors.utilisation import Utilisation
from benchmarks.flags import read_device, read_flags, read_out
from benchmarks.one_line_parser import OneLineParser
from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings
from benchmarks.store import RunStore
from benchmarks.written import now, write_json

EXECUTORS = ("local", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if every run was finished once, 1 if not, 2 for bad input."""
    raw = _parser().parse_args(arguments)
    try:
        out = read_out(raw) or Path("grid-busy.json")
        executors, settings = _read(raw)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console = Console()
    record: dict[str, Any] = {"what": "share of the time in which workers of a grid had a run at work"}
    record |= {"created": now(), "executors": {}}
    good = True
    for name in executors:
        found = measure(name, settings, console)
        record["executors"][name] = found
        good &= found["finished"] == found["runs"] and not found["repeated"]
        console.print(f"{name}: busy {100 * found['busy_share']:.1f} %", highlight=False)
        # One executor's numbers are not lost with the next one's.
        write_json(out, record | {"environment": environment(torch.device(settings.device))})
    return 0 if good else 1


def measure(executor: str, settings: CompareSettings, console: Console) -> dict[str, Any]:
    """Carry out the comparison with one executor; returns its section of the record."""
    with tempfile.TemporaryDirectory(prefix="grid-") as folder:
        settings = replace(settings, executor=executor, out=Path(folder))
        specs, folders = plan_runs(settings)
        store = RunStore(settings.out)
        store.create()
        started = time.time()
        grid = open_executor(settings, specs[0].device, list(folders.values()))
        assert isinstance(grid, Grid)
        with Utilisation() as utilisation, grid:
            failures = grid.run_all(
                specs, model_folders=folders, store=store, console=console, policy=CheckpointPolicy()
            )
        finished = sum(store.is_complete(spec.key) for spec in specs)
    spans = sorted(grid.spans, key=lambda span: span.began)
    record = summary(spans, workers=min(len(grid.workers), len(specs)), started=started)
    return record | {
        "methods": list(settings.methods),
        "task": settings.tasks[0],
        "seeds": settings.seeds,
        "steps": specs[0].steps,
        "runs": len(specs),
        "finished": finished,
        "failures": failures,
        "gpu_utilisation": utilisation.means(spans[0].began, max(span.ended for span in spans)) if spans else {},
        "spans": [span.as_dict() | {"began": span.began - started, "ended": span.ended - started} for span in spans],
    }


def summary(spans: Sequence[Span], *, workers: int, started: float) -> dict[str, Any]:
    """Return what the spans of a grid come to.

    Args:
        spans: Who had which run at work, and when.
        workers: How many there were.
        started: When the command began, on the clock of the spans.
    """
    busy, wall = busy_seconds(spans, workers), wall_seconds(spans)
    whole = max((span.ended for span in spans), default=started) - started
    return {
        "workers": workers,
        "wall_seconds": wall,
        "busy_share": busy_share(spans, workers),
        "busy_share_by_worker": [seconds / wall if wall else 1.0 for seconds in busy],
        "start_seconds": min((span.began for span in spans), default=started) - started,
        "busy_share_with_start": sum(busy) / (workers * whole) if whole else 1.0,
        "pauses_seconds": [round(pause, 4) for pause in _pauses(spans, workers)],
        "repeated": repeated_runs(spans),
    }


def _pauses(spans: Sequence[Span], workers: int) -> list[float]:
    """Return the seconds between the end of a worker's run and the start of its next."""
    found = []
    for worker in range(workers):
        mine = sorted((span.began, span.ended) for span in spans if span.worker == worker)
        found += [after[0] - before[1] for before, after in pairwise(mine)]
    return found


def _read(raw: argparse.Namespace) -> tuple[tuple[str, ...], CompareSettings]:
    whole = parsing.integer(minimum=1)
    readers = {
        "executors": parsing.names,
        "methods": parsing.names,
        "tasks": parsing.names,
        "seeds": whole,
        "steps": parsing.optional(whole),
        "test_examples": parsing.optional(whole),
        "workers": parsing.optional(whole),
        "threads": parsing.optional(whole),
        "measure": parsing.switch,
        "ray_address": parsing.optional(parsing.text),
    }
    values = read_flags(raw, readers)
    executors = values.pop("executors")
    unknown = [name for name in executors if name not in EXECUTORS]
    if unknown:
        raise UsageError(f"--executors: found {unknown[0]!r}; expected any of {', '.join(EXECUTORS)}")
    address = values.pop("ray_address")
    device = read_device(raw).type
    settings = CompareSettings(**values, device=device, baseline=values["methods"][0], max_products=10)
    for name in executors:
        check_executor(replace(settings, executor=name), device)
    return executors, replace(settings, ray_address=address)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m benchmarks.grid_busy", description=(__doc__ or "").split("\n")[0])
    for flag, default, text in (
        ("executors", "local,ray", "executors to measure, one after the other (default: %(default)s)"),
        ("methods", "lora,bilora", "methods (default: %(default)s)"),
        ("tasks", "pocket-math", "tasks (default: %(default)s)"),
        ("seeds", "4", "runs of every method (default: %(default)s)"),
        ("steps", "none", "optimizer steps; none: as calibrated"),
        ("test-examples", "none", "test examples to score; none: all"),
        ("measure", "true", "measure sharpness, with ten products a space (default: true)"),
        ("workers", "none", "runs at once; none: one for each GPU"),
        ("threads", "none", "CPU threads of each; none: local divides the cores among them, ray takes one"),
        ("ray-address", "none", "cluster for ray; none: the one that runs here, or a new one"),
        ("device", "auto", "auto, cpu or cuda (default: %(default)s)"),
        ("out", "grid-busy.json", "file for the record (default: %(default)s)"),
    ):
        parser.add_argument(f"--{flag}", default=default, help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
