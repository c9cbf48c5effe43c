"""`python -m benchmarks.calibrate`: how long and at which rate plain LoRA should train on a task.

A task is calibrated before any other method meets it, and by this command with plain LoRA alone: it has no flag for
another one. Every pair of a length and a learning rate is trained and scored on validation and on training examples;
the test split is never read. What is looked for is a validation score between 25 and 85 % (and, where there are two
answers, well above their chance) and a visible gap between training and unseen examples. The choice itself is made
by hand, written into the task's recipe and into `benchmarks/pocket/FROZEN.md` with the hash that this command prints.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks import parsing
from benchmarks.environment import Quiet, environment
from benchmarks.errors import UsageError, nearest
from benchmarks.flags import add_common_flags, each, read_device, read_flags, read_out
from benchmarks.loading import open_model
from benchmarks.one_line_parser import OneLineParser
from benchmarks.plan import plan_runs
from benchmarks.scoring import task_score
from benchmarks.settings import CompareSettings
from benchmarks.spec import RunSpec
from benchmarks.tasks import TASKS, Split, create_task
from benchmarks.training import EVALUATION_BATCH, train
from benchmarks.written import write_json

SEEN: tuple[Split, ...] = ("validation", "train")
LOWEST, HIGHEST = 0.25, 0.85


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m benchmarks.calibrate", description="Train plain LoRA at several lengths and learning rates."
    )
    parser.add_argument("--task", required=True, metavar="NAME", help="task to calibrate")
    parser.add_argument("--steps", default="60,120,240", metavar="N,N", help="lengths (default: %(default)s)")
    parser.add_argument(
        "--learning-rates", default="0.0005,0.001,0.002,0.004", metavar="X,X", help="rates (default: %(default)s)"
    )
    parser.add_argument("--seeds", default="1", metavar="N", help="seeds 0 to N-1 (default: %(default)s)")
    parser.add_argument("--examples", default="256", metavar="N", help="scored of each split (default: %(default)s)")
    parser.add_argument("--model", default="none", metavar="NAME", help="base (default: the task's own)")
    add_common_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (2 for bad input)."""
    try:
        options = _parser().parse_args(arguments)
        whole = parsing.integer(minimum=1)
        readers = {
            "steps": each(whole),
            "learning_rates": each(parsing.number(minimum=0, exclusive=True)),
            "seeds": whole,
            "examples": whole,
            "model": parsing.optional(parsing.text),
        }
        if options.task not in TASKS:
            raise UsageError(
                f"--task: unknown task {options.task!r}{nearest(options.task, TASKS)}; expected one of "
                f"{', '.join(TASKS)}"
            )
        values, out = read_flags(options, readers), read_out(options)
        settings = CompareSettings(
            methods=("lora",),
            tasks=(options.task,),
            model=values["model"],
            seeds=values["seeds"],
            device=read_device(options).type,
            evaluations=0,
            measure=False,
        )
        specs, folders = plan_runs(settings)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with Quiet():
        _calibrate(specs, folders[specs[0].model], values, out)
    return 0


def _calibrate(specs: Sequence[RunSpec], folder: Path, values: dict[str, Any], out: Path | None) -> None:
    record = _head(specs[0], folder, examples=values["examples"])
    for steps, rate, spec in product(values["steps"], values["learning_rates"], specs):
        run = _run(replace(spec, steps=steps, learning_rate=rate), folder, examples=values["examples"])
        record["runs"].append(run)
        _say(run)
        if out is not None:
            # After every run, so that nothing is lost when the command is stopped.
            write_json(out, record)


def _head(spec: RunSpec, folder: Path, *, examples: int) -> dict[str, Any]:
    device = torch.device(spec.device)
    task = create_task(spec.task)
    model, architecture = open_model(folder, device=device)
    before = architecture.score(model.eval(), task, task.examples("validation")[:examples])
    record = {
        "task": task.name,
        "task_version": task.version,
        "task_hash": task.fingerprint(),
        "model": spec.model,
        "model_hash": spec.model_fingerprint,
        "metric": task.metric,
        "method": "plain LoRA only; the test split is not read",
        "settings": {
            **{name: getattr(spec, name) for name in ("rank", "alpha", "dropout", "batch_size", "warmup")},
            **{name: getattr(spec, name) for name in ("weight_decay", "max_grad_norm")},
            "max_new_tokens": task.recipe.max_new_tokens,
            "scored": f"the first {examples} examples of a split; losses over whole splits",
        },
        "environment": environment(device),
        "validation_score_before": task_score(task, before),
        "runs": [],
    }
    print(f"{task.name} {task.version}, examples {record['task_hash']}, base {spec.model} {spec.model_fingerprint}")
    print(f"validation before training: {record['validation_score_before']:.1%}", flush=True)
    return record


def _run(spec: RunSpec, folder: Path, *, examples: int) -> dict[str, Any]:
    """Train and score one setting."""
    task = create_task(spec.task)
    model, architecture = open_model(folder, device=torch.device(spec.device))
    rows = {split: architecture.rows(task, task.examples(split)) for split in SEEN}
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        trained = train(
            spec,
            model,
            architecture=architecture,
            train_rows=rows["train"],
            validation_rows=rows["validation"],
            folder=Path(place),
            update=lambda fraction, note: None,
        )
        seconds = time.perf_counter() - started
    trained.model.eval()
    found: dict[str, Any] = {"steps": spec.steps, "learning_rate": spec.learning_rate, "seed": spec.seed}
    for split in SEEN:
        scored = architecture.score(trained.model, task, task.examples(split)[:examples])
        found[f"{split}_score"] = round(task_score(task, scored), 4)
        whole = architecture.objective(trained.model, rows[split], size=EVALUATION_BATCH)
        found[f"{split}_loss"] = round(whole.value(), 4)
    return found | {"train_seconds": round(seconds, 1)}


def _say(run: dict[str, Any]) -> None:
    inside = LOWEST <= run["validation_score"] <= HIGHEST
    print(
        f"{run['steps']:5d} steps at {run['learning_rate']:g}, seed {run['seed']}: validation "
        f"{run['validation_score']:.1%}, train {run['train_score']:.1%}, losses {run['validation_loss']:.3f} and "
        f"{run['train_loss']:.3f}, {run['train_seconds']:.0f} s{'' if inside else '  (validation outside 25 to 85 %)'}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
