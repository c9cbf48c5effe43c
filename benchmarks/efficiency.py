"""`python -m benchmarks.efficiency`: what one optimizer step of each method costs, in one run, on one machine.

Every method is timed beside LoRA as PEFT ships it (forward, backward, fused AdamW), beside PEFT's LoRA with compiled
layers, and beside the floor: a forward pass of the frozen model and the gradient of its input. Models come by name
(shipped, trained), as a folder, or as a published shape with random weights, on which time and memory are the same.
Random batches are enough: the cost of a step does not depend on what the tokens say. Rounds are averaged in blocks of
five, since LookSAM's cost comes every fifth step; the median over the blocks is reported with its quartiles.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers.utils import logging as transformers_logging

from benchmarks import parsing
from benchmarks.curvature.options import read_device, read_flags, read_out
from benchmarks.environment import environment
from benchmarks.errors import UsageError, nearest
from benchmarks.language import language_kind
from benchmarks.loading import load_model
from benchmarks.model_shapes import SHAPES, ModelShape, language_batch
from benchmarks.models import locate_model, shipped_models
from benchmarks.one_line_parser import OneLineParser
from benchmarks.step_cost import Shape, StepCost, Subject, available_bytes, measure, needed_bytes, on_device
from benchmarks.step_timing import BLOCK, FUSED, GRAPHED, PATHS, STOCK
from benchmarks.written import write_json
from bilora import method_names
from bilora.methods import METHODS

PUBLISHED = Path(__file__).parents[1] / "reports" / "published.csv"
WEIGHTS = ("auto", "trained", "random")


def subject(
    model: str, *, rank: int, weights: str, layers: int | None, shapes: Sequence[Shape], device: torch.device
) -> Subject:
    """Make the model that is timed.

    Raises:
        UsageError: If it cannot be found, or does not fit into the memory that is free.
    """
    options: dict[str, Any] = {"r": rank, "lora_alpha": 2 * rank}
    generator = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if model in SHAPES:
        shape = SHAPES[model]
        empty = shape.empty(dtype, layers=layers)
        for size in shapes:
            _refuse_too_large(model, shape, empty, size, rank, device)
        return Subject(
            name=model if layers is None else f"{model}, {layers} layers",
            base=shape.on(device, dtype, layers=layers),
            config=LoraConfig(target_modules=list(shape.target_modules), task_type=shape.task_type, **options),
            batch=lambda rows, tokens: on_device(shape.batch(rows, tokens, generator), device, dtype),
            blocks=(shape.block,),
        )
    base, tokenizer = load_model(locate_model(model), device=device)
    kind = language_kind(base.config)
    if weights == "random":
        torch.manual_seed(0)
        base = kind.model_class.from_config(base.config, dtype=torch.float32).to(device)
    make = language_batch(len(tokenizer))
    return Subject(
        name=model,
        base=base,
        config=LoraConfig(target_modules="all-linear", task_type=kind.task_type, **options),
        batch=lambda rows, tokens: on_device(make(rows, tokens, generator), device, torch.float32),
    )


def _refuse_too_large(
    name: str, shape: ModelShape, empty: nn.Module, size: Shape, rank: int, device: torch.device
) -> None:
    batch = shape.batch(*size, torch.Generator())
    needed = needed_bytes(empty, batch, rank=rank, adapted=shape.target_modules)
    available = available_bytes(device)
    if needed > available:
        raise UsageError(
            f"--model {name} --shapes {size[0]}x{size[1]}: needs at least {needed / 1e9:.1f} GB and "
            f"{available / 1e9:.1f} GB of {device.type} memory are free; take smaller --shapes, or fewer --layers"
        )


def published_ratios(model: str) -> dict[str, str]:
    """Return what the paper prints for this model: seconds of each method over LoRA's, over its tables and tasks."""
    if model not in SHAPES:
        return {}
    tables = pd.read_csv(PUBLISHED, dtype={"table": str})
    rows = tables[tables["table"].isin(SHAPES[model].published) & (tables["metric"] == "step-time")]
    rows = rows[rows["task"] != "average"].pivot_table(index=["table", "task"], columns="method", values="value")
    found = {}
    for method in rows.columns:
        ratios = (rows[method] / rows["lora"]).dropna()
        low, high = f"{ratios.min():.2f}", f"{ratios.max():.2f}"
        found[str(method)] = low if low == high else f"{low} to {high}"
    return found


def table(costs: Sequence[StepCost], published: dict[str, str], source: str) -> Table:
    """Return the costs as a table, with the paper's beside them."""
    heads = ["shape", "method", "path", "step ms", "quartiles", "peak GB", "tokens/s", "x PEFT LoRA", "x PEFT compiled"]
    heads += ["x our LoRA", "x floor"]
    shown = Table(*heads, *([f"paper, {source}"] if published else ()), box=None)

    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    for c in costs:
        cells = [c.shape, c.method, c.path, number(c.step_ms, 1)]
        cells.append(f"{number(c.step_ms_low, 1)} to {number(c.step_ms_high, 1)}" if c.error is None else c.error[:60])
        cells += [number(c.peak_gb, 1), number(c.tokens_per_second, 0)]
        ratios = (c.ratio_to_stock_lora, c.ratio_to_compiled_lora, c.ratio_to_our_lora, c.ratio_to_floor)
        cells += [number(ratio) for ratio in ratios]
        shown.add_row(*cells, *([published.get(c.method, "-")] if published else ()))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.efficiency", description=__doc__.split("\n\n")[1])
    known = ", ".join([*shipped_models(), *SHAPES])
    add = parser.add_argument
    add("--model", default="pocket-llama", help=f"one of {known}, or a folder (default: %(default)s)")
    add("--weights", default="auto", help="trained, random, or auto: random for published shapes (default: auto)")
    add("--methods", default="lora,lora-sam,bilora", help="methods to time (default: %(default)s)")
    add("--paths", default="auto", help=f"any of {', '.join(PATHS)} (default: stock,fused; on a GPU stock,graphed)")
    add("--shapes", default="16x64", help="batch size x tokens per row, several with commas (default: %(default)s)")
    add("--layers", default="all", help="only so many of a published shape's layers (default: %(default)s)")
    add("--rounds", default="30", help="timed rounds, two blocks of 5 or more (default: %(default)s)")
    add("--warm-up", default="5", help="rounds that are not counted (default: %(default)s)")
    add("--rank", default="8", help="LoRA rank; alpha is twice the rank (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--out", default=None, metavar="FILE.json", help="also write the records and the environment")
    warnings.simplefilter("ignore", FutureWarning)
    transformers_logging.disable_progress_bar()
    console = Console()
    try:
        options = parser.parse_args(arguments)
        values, out = _read(options), read_out(options)
        device: torch.device = values["device"]
        timed = subject(
            options.model,
            **{name: values.pop(name) for name in ("rank", "weights", "layers")},
            shapes=values["shapes"],
            device=device,
        )
        known_costs: list[StepCost] = []

        def show(cost: StepCost) -> None:
            # Written at once, so that what has been measured outlives whatever comes.
            known_costs.append(cost)
            outcome = f"{cost.step_ms:.1f} ms" if cost.step_ms is not None else f"failed: {cost.error}"
            console.print(f"{cost.shape} {cost.method} ({cost.path}): {outcome}", highlight=False)
            _write(out, known_costs, device)

        costs = measure(timed, show=show, **values)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tables = SHAPES[options.model].published if options.model in SHAPES else ()
    source = " and ".join(f"Table {number}" for number in tables)
    if not console.is_terminal:
        console.width = max(console.width, 200)
    console.print(table(costs, published_ratios(options.model), source))
    _write(out, costs, device)
    return 0


def _write(out: Path | None, costs: Sequence[StepCost], device: torch.device) -> None:
    if out:
        write_json(out, {"environment": environment(device), "records": [asdict(cost) for cost in costs]})


def _read(options: argparse.Namespace) -> dict[str, Any]:
    """Check every flag before a model is made."""
    readers: dict[str, parsing.Reader] = {
        "methods": parsing.names,
        "weights": parsing.choice(*WEIGHTS),
        "rounds": parsing.integer(minimum=2 * BLOCK),
        "warm_up": parsing.integer(minimum=0),
        "rank": parsing.integer(minimum=1),
    }
    if options.paths != "auto":
        readers["paths"] = parsing.names
    if options.layers != "all":
        readers["layers"] = parsing.integer(minimum=1)
    device = read_device(options)
    cuda = device.type == "cuda"
    defaults: dict[str, Any] = {"device": device, "paths": (STOCK, GRAPHED) if cuda else (STOCK, FUSED), "layers": None}
    values = defaults | read_flags(options, readers)
    for method in values["methods"]:
        if method not in method_names():
            raise UsageError(f"--methods: unknown method {method!r}{nearest(method, method_names())}")
    for path in values["paths"]:
        if path not in PATHS:
            raise UsageError(f"--paths: unknown path {path!r}; expected {', '.join(PATHS[:-1])} or {PATHS[-1]}")
        if path == GRAPHED and not cuda:
            raise UsageError("--paths: 'graphed' needs a CUDA device; expected stock, fused or compiled here")
    frozen = [name for name in values["methods"] if not METHODS[name].replayable]
    if GRAPHED in values["paths"] and frozen:
        raise UsageError(
            f"--paths: 'graphed' replays one recorded pass, and those of {', '.join(frozen)} change from step to step; "
            "time these with compiled"
        )
    if values["rounds"] % BLOCK:
        raise UsageError(f"--rounds: found {values['rounds']}; expected a multiple of {BLOCK}, the length of a block")
    values["shapes"] = [_shape(part) for part in options.shapes.split(",")]
    _check_model(options.model, values)
    return values


def _shape(raw: str) -> Shape:
    rows, cross, tokens = raw.partition("x")
    if not (cross and rows.isdigit() and tokens.isdigit() and int(rows) > 0 and int(tokens) > 1):
        raise UsageError(f"--shapes: found {raw!r}; expected ROWSxTOKENS, for example 16x64")
    return int(rows), int(tokens)


def _check_model(name: str, values: dict[str, Any]) -> None:
    if name in SHAPES:
        if values["weights"] == "trained":
            raise UsageError(f"--weights: found 'trained', but {name} is a shape without weights; expected random")
        depth, layers = SHAPES[name].layers, values["layers"]
        if layers is not None and layers > depth:
            raise UsageError(f"--layers: found {layers}; expected at most {depth}, all that {name} has")
        for rows, tokens in values["shapes"]:
            SHAPES[name].batch(rows, tokens, torch.Generator())
        return
    if values["layers"] is not None:
        raise UsageError(f"--layers: found {values['layers']}; only published shapes can be cut ({', '.join(SHAPES)})")
    known = [*shipped_models(), *SHAPES]
    if name not in known and not Path(name).exists():
        raise UsageError(
            f"--model: {name!r} is neither a folder nor a known model{nearest(name, known)}; known: {', '.join(known)}"
        )
    locate_model(name)


if __name__ == "__main__":
    sys.exit(main())
