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

import torch
from rich.console import Console
from transformers.utils import logging as transformers_logging

from benchmarks import parsing
from benchmarks.efficiency_table import published_ratios, table
from benchmarks.environment import environment
from benchmarks.errors import UsageError, nearest
from benchmarks.flags import read_device, read_flags, read_out
from benchmarks.model_shapes import SHAPES
from benchmarks.models import locate_model, shipped_models
from benchmarks.one_line_parser import OneLineParser
from benchmarks.step_cost import Shape, measure
from benchmarks.step_record import StepCost
from benchmarks.step_timing import BLOCK, FUSED, GRAPHED, PATHS, STOCK
from benchmarks.timed_model import subject
from benchmarks.written import write_json
from bilora import method_names
from bilora.methods import METHODS

WEIGHTS = ("auto", "trained", "random")


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
    if not (cross and rows.isdecimal() and tokens.isdecimal() and int(rows) > 0 and int(tokens) > 1):
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
