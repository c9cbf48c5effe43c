"""The plan of a command as text: for `--dry-run`, `--list-presets` and `--print-config`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table

from benchmarks.dry_run import ComparisonPlan, PlannedRuns
from benchmarks.estimates import sentences
from benchmarks.executors.plan_lines import executor_sentences, hours_text
from benchmarks.presets import TRAINING_DATA, Preset, canonical_names, find_preset
from benchmarks.request import Request
from benchmarks.settings import to_yaml
from bilora.methods import METHODS

# What an H200 holds, in 1e9 bytes.
_H200_GB = 141.0
# So wide that no number of the table is cut where output is no terminal.
_WIDTH = 100


def print_presets(console: Console) -> None:
    """Print every preset with what it is and which tables and figures its runs give."""
    for name in canonical_names():
        preset = find_preset(name)
        _say(console, f"{name} ({', '.join(preset.source)}): {preset.description}")
        if preset.also:
            _say(console, f"  also called {', '.join(preset.also)}")


def config_text(request: Request) -> str:
    """Return the settings of every comparison as YAML documents, with a preset's cases as comments."""
    documents = []
    for comparison in request.comparisons:
        lines = []
        if comparison.part is not None and comparison.part.name:
            lines.append(f"# part {comparison.part.name}\n")
        for case in comparison.cases:
            about = ", ".join([*case.tasks, *case.methods]) or "all"
            values = dict(case.values) | ({} if case.epochs is None else {"epochs": case.epochs})
            if values:
                lines.append(f"# {about}: {', '.join(f'{key} {value}' for key, value in values.items())}\n")
        documents.append("".join(lines) + to_yaml(comparison.settings))
    return "---\n".join(documents)


def print_plan(request: Request, plans: Sequence[ComparisonPlan], console: Console) -> None:
    """Print runs, steps, what is finished, time and memory, what must be here, and what is our choice."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    preset = request.preset
    if preset is not None:
        _say(console, f"{preset.name}: {preset.description}")
        _say(console, f"of the paper (arXiv 2508.19564): {', '.join(preset.source)}")
    for plan in plans:
        _print_comparison(plan, console)
    _print_totals(plans, console)
    _print_executor(plans, console)
    _print_needs(plans, console)
    if preset is not None:
        _print_preset(preset, plans, console)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _print_comparison(plan: ComparisonPlan, console: Console) -> None:
    settings = plan.comparison.settings
    runs = sum(entry.seeds for entry in plan.runs)
    model = ", ".join(model for model in plan.models if model)
    part = plan.comparison.part.name if plan.comparison.part is not None else ""
    _say(
        console,
        f"\n{f'part {part}: ' if part else ''}{runs} runs (method x task x seed) on {model}, into {settings.out}",
    )
    if plan.unknown:
        _say(console, f"which of them are finished is not known: {plan.unknown}")
    table = Table("task", "method", *[_right(head) for head in _HEADS], box=None, pad_edge=False)
    for entry in plan.runs:
        table.add_row(entry.task, entry.label, *_cells(entry))
    console.print(table)


_HEADS = ("seeds", "steps", "finished", "hours a run", "hours", "peak GB")


def _right(head: str) -> Column:
    return Column(head, justify="right", no_wrap=True)


def _cells(entry: PlannedRuns) -> list[str]:
    hours = entry.hours
    peak = entry.estimate.bytes if entry.estimate is not None else None
    return [
        str(entry.seeds),
        "-" if entry.steps is None else f"{entry.steps:,}",
        "-" if entry.finished is None else f"{entry.finished} of {entry.seeds}",
        _hours(hours),
        _hours(None if hours is None else hours * entry.seeds),
        "-" if peak is None else f"{peak / 1e9:.1f}" + (" (!)" if peak / 1e9 > _H200_GB else ""),
    ]


def _hours(hours: float | None) -> str:
    if hours is None:
        return "-"
    return hours_text(hours)


def _print_totals(plans: Sequence[ComparisonPlan], console: Console) -> None:
    entries = [entry for plan in plans for entry in plan.runs]
    hours = [entry.hours * entry.seeds for entry in entries if entry.hours is not None]
    left_out = sum(entry.seeds for entry in entries if entry.hours is None)
    runs = sum(entry.seeds for entry in entries)
    rest = f"; {left_out} runs have no estimate: no step like theirs was measured" if left_out else ""
    estimates = [entry.estimate for entry in entries if entry.estimate is not None]
    pocket, unit = _unit(plans)
    _say(console, f"\ntotal: {runs} runs" + (f", {_hours(sum(hours))} {unit} of training" if hours else "") + rest)
    if not estimates:
        return
    if any(found.bytes is not None and found.bytes / 1e9 > _H200_GB for found in estimates):
        _say(
            console,
            f"(!) more than the {_H200_GB:.0f} GB of one H200: a smaller micro batch, several GPUs, or leave it out",
        )
    tokens = ", ".join(dict.fromkeys(f"{count:,}" for plan in plans for count in plan.tokens))
    _say(console, "the estimate assumes:")
    if not pocket:
        _say(console, f"- {tokens} tokens (or latents) in every row, its full length; shorter rows take less")
    _say(
        console,
        "- training steps alone: evaluations, scoring and measurements come on top; adapter variants count as LoRA",
    )
    for sentence in dict.fromkeys(sentence for plan in plans for sentence in plan.drawing):
        _say(console, f"- {sentence}")
    for sentence in sentences(estimates):
        _say(console, f"- {sentence}")


def _unit(plans: Sequence[ComparisonPlan]) -> tuple[bool, str]:
    """Return whether all estimates are of the shipped models, and what their hours are hours of."""
    estimates = [entry.estimate for plan in plans for entry in plan.runs if entry.estimate is not None]
    pocket = bool(estimates) and all(found.bytes is None for found in estimates)
    return pocket, "hours on two CPU cores" if pocket else "GPU hours on one H200"


def _print_executor(plans: Sequence[ComparisonPlan], console: Console) -> None:
    _say(console, "\ncarried out by (training alone, the longest runs first):")
    for sentence in executor_sentences(plans, _unit(plans)[1]):
        _say(console, f"- {sentence}")


def _print_needs(plans: Sequence[ComparisonPlan], console: Console) -> None:
    tasks = dict.fromkeys(task for plan in plans for task in plan.comparison.settings.tasks)
    hub = [task for task in tasks if task in TRAINING_DATA]
    missing = dict.fromkeys(sentence for plan in plans for sentence in plan.missing)
    models = dict.fromkeys(model for plan in plans for model in plan.models if model)
    _say(console, "\nmust be here:")
    for model in models:
        _say(console, f"- model {model}")
    for task in hub:
        data = TRAINING_DATA[task]
        _say(console, f"- data {data.hub} for {task}, {data.examples:,} training examples")
    for sentence in missing:
        _say(console, f"- missing: {sentence}")


def _print_preset(preset: Preset, plans: Sequence[ComparisonPlan], console: Console) -> None:
    if preset.published:
        tables = ", ".join(dict.fromkeys(f"Table {rows.table} ({rows.task})" for rows in preset.published))
        _say(console, f"\npublished numbers beside the measured ones: {tables}")
    compared = {entry.label for plan in plans for entry in plan.runs}
    _say(console, "\nour choice, where the paper leaves it open:")
    for name, reason in preset.our_choice.items():
        method = name.partition(".")[0]
        # What is said of a method that is not compared here is not of this plan.
        if method not in METHODS or any(method == label.rpartition("+")[2] for label in compared):
            _say(console, f"- {name}: {reason}")
