"""`python -m analysis.measure`: how flat is this model, in which space, and how sure is that.

Measures any PEFT checkpoint or model folder on any data, writes `measure.json` after every part, and a page of tables
and figures at the end. A part that cannot be measured is noted with its reason and does not stop the others; the same
command does what is missing. Under `torchrun` the ranks share the batches, and the first one writes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from analysis.errors import AnalysisError, SettingsError
from analysis.losses import LossFunction, causal_lm_loss, seq2seq_lm_loss, sequence_classification_loss
from analysis.measure.data import encode, make_batches, read_rows
from analysis.measure.display import Display
from analysis.measure.launch import folder_of_rank, join, launched
from analysis.measure.loading import DTYPES, LoadedModel, load
from analysis.measure.page import write_page
from analysis.measure.parts import PARTS, Context
from analysis.measure.record import MeasureRecord
from analysis.measure.settings import MeasureSettings, read_settings
from analysis.objective import Objective
from analysis.spaces import ParameterSpace, parameter_space

EXIT_OK, EXIT_PART_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_LOSSES: dict[str, LossFunction] = {
    "causal": causal_lm_loss,
    "seq2seq": seq2seq_lm_loss,
    "classification": sequence_classification_loss,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: all done, 1: a part failed, 2: bad input, 130: interrupted)."""
    with launched() as first:
        return _main(sys.argv[1:] if arguments is None else list(arguments), first=first)


def _main(arguments: list[str], *, first: bool) -> int:
    console = Console(quiet=not first)
    warnings.simplefilter("ignore", FutureWarning)
    try:
        settings = read_settings(arguments)
        join(_device(settings.device).type)
        with folder_of_rank(Path(settings.out), first=first) as folder:
            return _measured(replace(settings, out=str(folder)), console)
    except AnalysisError as error:
        if first:
            print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE


def _measured(settings: MeasureSettings, console: Console) -> int:
    context, record, spaces = prepare(settings)
    try:
        failures = measure_all(context, record, spaces, console)
    except KeyboardInterrupt:
        print("interrupted; finished parts are kept, the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    page = write_page(record.content, context.folder)
    console.print(f"record: {record.path}", highlight=False, soft_wrap=True)
    console.print(f"page:   {page}", highlight=False, soft_wrap=True)
    return EXIT_PART_FAILED if failures else EXIT_OK


def prepare(settings: MeasureSettings) -> tuple[Context, MeasureRecord, list[ParameterSpace]]:
    """Load model and data, build every space, and check that the loss is a function of the weights.

    Raises:
        AnalysisError: Something that was asked for cannot be had; nothing has been measured then.
    """
    rows = read_rows(Path(settings.data), count=settings.examples)
    device = _device(settings.device)
    loaded = load(settings.model, settings.adapter, dtype=DTYPES[settings.dtype], device=device)
    examples = [encode(row, loaded.tokenizer, kind=loaded.kind, max_length=settings.max_length) for row in rows]
    objective = _objective(loaded, examples, size=settings.batch_size)
    blocks = [
        _objective(loaded, examples[start : start + settings.block_size], size=settings.batch_size)
        for start in range(0, len(examples) - settings.block_size + 1, settings.block_size)
    ]
    spaces = [parameter_space(loaded.model, name) for name in settings.spaces]
    with spaces[0] as space:
        objective.check_determinism(space.tensors)
    head = {
        "settings": {key: value for key, value in asdict(settings).items() if key not in ("spaces", "metrics", "out")},
        "kind": loaded.kind,
        "loss": objective.value(),
        "examples": len(examples),
        "tokens": sum(len(example["input_ids"]) for example in examples),
        "environment": _environment(device),
    }
    folder = Path(settings.out)
    record = MeasureRecord(folder, head)
    context = Context(loaded.model, objective, blocks, settings, folder)
    return context, record, spaces


def measure_all(context: Context, record: MeasureRecord, spaces: Sequence[ParameterSpace], console: Console) -> int:
    """Measure what is missing; returns the number of parts that failed."""
    wanted = [
        (space, name, part) for space, name in zip(spaces, context.settings.spaces, strict=True) for part in PARTS
    ]
    todo = [
        (space, name, part)
        for space, name, part in wanted
        if part in context.settings.metrics and not record.has(name, part)
    ]
    failures = 0
    with Display(console, parts=len(todo)) as display:
        for space, name, part in todo:
            display.begin(f"{name} · {part}")
            try:
                # Entered once: a space of factors is balanced on entry, and graphs are kept while nothing is written.
                with space:
                    values = PARTS[part](context, space, display.report)
                record.add(name, part, {"dimension": space.dimension} | values)
                display.end("done")
            except (AnalysisError, torch.OutOfMemoryError) as error:
                failures += 1
                message = _one_line(error)
                record.fail(name, part, message)
                display.end(f"not measured: {message}")
    return failures


def _one_line(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"out of memory; lower --batch-size or --basis-size, or hold the basis with --basis-storage host: {message}"
        )
    return message


def _objective(loaded: LoadedModel, examples: Sequence[dict[str, Any]], *, size: int) -> Objective:
    pad_id = 0 if loaded.tokenizer is None else int(loaded.tokenizer.pad_token_id or 0)
    return Objective(loaded.model, make_batches(examples, size=size, pad_id=pad_id), loss=_LOSSES[loaded.kind])


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise SettingsError("--device: cuda was asked for and torch sees no CUDA device; expected auto or cpu here")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _environment(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"torch": torch.__version__, "python": sys.version.split()[0], "device": name}


if __name__ == "__main__":
    sys.exit(main())
