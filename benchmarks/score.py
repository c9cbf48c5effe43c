"""`python -m benchmarks.score`: adapters on tasks of the lm-evaluation-harness, one base loaded once for all of them.

    python -m benchmarks.score --adapter A B C --tasks gsm8k,mmlu --out scores

Scores are kept by what was scored, and the same command takes those that are missing. Tasks are the harness' own, a
user's in YAML (`--include-path`), or the pocket tasks, which need no network. `--mt-bench` writes answers to MT-Bench's
questions for a judge of the user's, whose judgements `--mt-bench-judgments` reads back.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import parsing
from benchmarks.errors import UsageError
from benchmarks.flags import read_device, read_flags
from benchmarks.harness import pocket
from benchmarks.harness.evaluation import primary
from benchmarks.harness.measures import HarnessOptions, harness_tasks
from benchmarks.harness.mt_bench import MAX_NEW_TOKENS, MtBench, read_judgements
from benchmarks.harness.session import Measure, plan_scores, prepare, take_scores
from benchmarks.harness.spec import ScoreStore
from benchmarks.harness.subjects import Base, Subject, adapter_subjects, locate_base
from benchmarks.model_settings import DTYPES
from benchmarks.one_line_parser import OneLineParser
from benchmarks.storage import StorageError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m benchmarks.score",
        description="Score adapters with the lm-evaluation-harness. Finished scores are kept.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--adapter", nargs="+", action="extend", default=[], metavar="FOLDER", help="PEFT adapters to score")
    add("--base", action="store_true", help="score the base model itself too")
    add(
        "--model",
        default="none",
        metavar="NAME",
        help="base: folder, shipped model or hub name (default: each adapter's)",
    )
    add("--tasks", default="none", metavar="A,B", help="tasks or groups of lm-eval, or pocket tasks")
    add("--out", default="scores", metavar="FOLDER", help="output folder (default: %(default)s)")
    add("--limit", default="none", metavar="N", help="examples of each task (default: all)")
    add("--num-fewshot", default="none", metavar="N", help="examples in each prompt (default: the task's)")
    add("--batch-size", default="16", metavar="N|auto", help="examples at a time (default: %(default)s)")
    add("--dtype", default="auto", help="float32, bfloat16, float16; auto: float32 on the CPU, bfloat16 on a GPU")
    add("--quantize", default="none", metavar="nf4|none", help="nf4 puts adapters on a 4-bit base")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--threads", default="none", metavar="N", help="CPU threads (default: as torch chooses)")
    add("--apply-chat-template", action="store_true", help="prompts go through the tokenizer's chat template")
    add("--include-path", nargs="+", action="extend", default=[], metavar="FOLDER", help="YAML tasks of your own")
    add(
        "--confirm-run-unsafe-code",
        action="store_true",
        help="allow tasks that run what the model writes (humaneval, mbpp, pocket-code), in this project's sandbox",
    )
    add("--export-pocket", default=None, metavar="FOLDER", help="write the pocket tasks as YAML for lm-eval, and stop")
    add(
        "--mt-bench", default=None, metavar="FILE.jsonl", help="write answers to MT-Bench questions (FastChat's format)"
    )
    add(
        "--mt-bench-tokens", default=str(MAX_NEW_TOKENS), metavar="N", help="tokens of an answer (default: %(default)s)"
    )
    add("--mt-bench-judgments", default=None, metavar="FILE.jsonl", help="read a judge's scores of those answers")
    return parser


_WHOLE = parsing.integer(minimum=1)
_READERS: dict[str, parsing.Reader] = {
    "model": parsing.optional(parsing.text),
    "tasks": parsing.optional(parsing.names),
    "out": parsing.path,
    "limit": parsing.optional(_WHOLE),
    "num_fewshot": parsing.optional(parsing.integer(minimum=0)),
    "batch_size": lambda raw: raw if raw == "auto" else _WHOLE(raw),
    "dtype": parsing.choice(*DTYPES),
    "quantize": parsing.optional(parsing.choice("nf4")),
    "threads": parsing.optional(_WHOLE),
    "mt_bench_tokens": _WHOLE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: all done, 1: a score failed, 2: bad input, 130: interrupted)."""
    console = Console()
    try:
        options = _parser().parse_args(arguments)
        values = read_flags(options, _READERS)
        if options.export_pocket is not None:
            return _export(Path(options.export_pocket))
        if values["threads"] is not None:
            torch.set_num_threads(values["threads"])
        store = ScoreStore(values["out"])
        store.check_writable()
        jobs = _jobs(options, values)
        missing = prepare(jobs, store)
        store.create()
        store.remove_unfinished()
        if len(missing) < len(jobs):
            console.print(f"{len(jobs) - len(missing)} of {len(jobs)} scores are finished already and kept")
        failures = take_scores(missing, store, console)
        if options.mt_bench_judgments is not None:
            read_judgements(Path(options.mt_bench_judgments), store)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted; finished scores are kept, the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except StorageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    print_scores([store.record(key) for key in store.finished()], console)
    console.print(f"scores: {store.write_table()}", highlight=False, soft_wrap=True)
    return EXIT_FAILED if failures else EXIT_OK


def _export(folder: Path) -> int:
    for path in pocket.export(pocket.exportable(), folder):
        print(path)
    return EXIT_OK


def _jobs(options: argparse.Namespace, values: dict[str, Any]) -> list[Any]:
    device = read_device(options).type
    dtype = values["dtype"]
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    subjects = _subjects(options, values) if values["tasks"] or options.mt_bench else []
    measures: list[Measure] = []
    if values["tasks"]:
        measures += harness_tasks(
            values["tasks"],
            include=[Path(folder) for folder in options.include_path],
            pocket_folder=values["out"] / "pocket-tasks",
            options=HarnessOptions(
                limit=values["limit"],
                num_fewshot=values["num_fewshot"],
                batch_size=values["batch_size"],
                chat_template=options.apply_chat_template,
                unsafe=options.confirm_run_unsafe_code,
            ),
        )
    if options.mt_bench is not None:
        questions, tokens = Path(options.mt_bench), values["mt_bench_tokens"]
        measures.append(MtBench(questions, limit=values["limit"], max_new_tokens=tokens))
    if not measures:
        if options.mt_bench_judgments is not None:
            return []
        raise UsageError(
            "--tasks: nothing to score on; name tasks of lm-eval or pocket tasks, or --mt-bench FILE.jsonl"
        )
    return plan_scores(subjects, measures, dtype=dtype, device=device)


def _subjects(options: argparse.Namespace, values: dict[str, Any]) -> list[Subject]:
    model, quantize = values["model"], values["quantize"]
    adapters = adapter_subjects([Path(folder) for folder in options.adapter], model=model, quantize=quantize)
    if not options.base:
        if not adapters:
            raise UsageError("--adapter: nothing to score; name adapters, or --base with --model for a model alone")
        return adapters
    if model is None and not adapters:
        raise UsageError("--base: which model? Name it with --model, or an adapter of it with --adapter")
    bases = [Base(source=locate_base(model, flag="--model"), quantize=quantize)] if model else []
    bases += list(dict.fromkeys(subject.base for subject in adapters))
    unique = list(dict.fromkeys(bases))
    named = [Subject(name="base" if len(unique) == 1 else f"base {Path(b.source).name}", base=b) for b in unique]
    return [*named, *adapters]


def print_scores(records: Sequence[dict[str, Any]], console: Console) -> None:
    """Print one line for each subject, and one column for each task that was asked for."""
    tasks = list(dict.fromkeys(record["spec"]["task"] for record in records))
    cells: dict[str, dict[str, str]] = {}
    for record in records:
        spec = record["spec"]
        found = primary(record["tasks"][spec["task"]]) if "tasks" in record else None
        cells.setdefault(spec["subject"], {})[spec["task"]] = "answers written" if found is None else marked(found)
    table = Table("subject", *tasks, box=None, pad_edge=False)
    for subject, found_cells in cells.items():
        table.add_row(subject, *(found_cells.get(task, "-") for task in tasks))
    console.print(table)


def marked(found: dict[str, Any]) -> str:
    """Return a value with its standard error, and what it is."""
    error = "" if found["standard_error"] is None else f" ± {found['standard_error']:.3f}"
    return f"{found['value']:.3f}{error} {found['metric']}"


if __name__ == "__main__":
    sys.exit(main())
