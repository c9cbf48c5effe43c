"""`python -m benchmarks.efficiency`: what one optimizer step of each method costs, in one run, on one machine.

Every method takes a step in turn, round after round, so that a machine that slows down slows all of them. Rounds are
averaged in blocks of five, since LookSAM's cost comes every fifth step; the median over the blocks is reported with
its quartiles, and as a multiple of LoRA as PEFT ships it (forward, backward, fused AdamW) and of LoRA on this
project's own path. Random token batches are enough: the cost of a step does not depend on what the tokens say.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from benchmarks import parsing
from benchmarks.environment import environment
from benchmarks.errors import UsageError, nearest
from benchmarks.models import load_model, locate_model
from benchmarks.settings import OneLineParser
from benchmarks.step_timing import BLOCK, Step, blocks, method_step, stock_step, time_steps
from benchmarks.store import write_json
from bilora import method_names

STOCK = "peft-lora"
PATHS = ("stock", "fused")


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """The cost of one method's optimizer step.

    Attributes:
        model: Name or folder of the model.
        shape: Batch size x tokens per row.
        method: Name of the method, or "peft-lora" for LoRA as PEFT ships it.
        path: "stock" for PEFT's own forward, "fused" for `bilora.fused`.
        step_ms: Wall-clock time of a step, milliseconds, median over the blocks.
        step_ms_low: Lower quartile.
        step_ms_high: Upper quartile.
        ratio_to_stock_lora: Median over the blocks of this step's time over stock LoRA's in the same block.
        ratio_to_our_lora: The same over "lora" on our own path; None if it was not measured.
        rounds: How many rounds were timed.
    """

    model: str
    shape: str
    method: str
    path: str
    step_ms: float
    step_ms_low: float
    step_ms_high: float
    ratio_to_stock_lora: float
    ratio_to_our_lora: float | None
    rounds: int


def measure(
    model: str,
    methods: Sequence[str],
    *,
    paths: Sequence[str],
    batch_size: int,
    tokens: int,
    rounds: int,
    warm_up: int,
    rank: int,
) -> list[StepCost]:
    """Time stock PEFT LoRA and every method on every path, in one interleaved run."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = locate_model(model)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    steps: dict[tuple[str, str], Step] = {}
    for method, path in ((STOCK, "stock"), *((m, p) for p in paths for m in methods)):
        base, tokenizer = load_model(folder, device=device)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, len(tokenizer), (batch_size, tokens), generator=generator).to(device)
        batch = {"input_ids": ids, "labels": ids}
        if method == STOCK:
            steps[method, path] = stock_step(base, config, batch)
        else:
            steps[method, path] = method_step(
                base, config, batch, method=method, fused=path == "fused", steps=rounds + warm_up
            )
    names = {f"{method}/{path}": step for (method, path), step in steps.items()}
    timed = time_steps(names, rounds=rounds, warm_up=warm_up, device=device)
    seconds = {name: blocks(values) for name, values in timed.items()}

    def ratio(name: str, reference: str) -> float | None:
        if reference not in seconds:
            return None
        return statistics.median(a / b for a, b in zip(seconds[name], seconds[reference], strict=True))

    costs = []
    for method, path in steps:
        name = f"{method}/{path}"
        low, middle, high = (1e3 * value for value in statistics.quantiles(seconds[name], n=4))
        costs.append(
            StepCost(
                model=model,
                shape=f"{batch_size}x{tokens}",
                method=method,
                path=path,
                step_ms=middle,
                step_ms_low=low,
                step_ms_high=high,
                ratio_to_stock_lora=ratio(name, f"{STOCK}/stock") or 1.0,
                ratio_to_our_lora=ratio(name, "lora/fused"),
                rounds=rounds,
            )
        )
    return costs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.efficiency", description=__doc__.split("\n\n")[1])
    parser.add_argument("--model", default="pocket-llama", help="shipped model or folder (default: %(default)s)")
    parser.add_argument("--methods", default="lora,lora-sam,bilora", help="methods to time (default: %(default)s)")
    parser.add_argument("--paths", default="stock,fused", help="paths to time them on (default: %(default)s)")
    parser.add_argument("--shape", default="16x64", help="batch size x tokens per row (default: %(default)s)")
    parser.add_argument("--rounds", default="30", help="timed rounds, two blocks of 5 or more (default: %(default)s)")
    parser.add_argument("--warm-up", default="5", help="rounds that are not counted (default: %(default)s)")
    parser.add_argument("--rank", default="8", help="LoRA rank; alpha is twice the rank (default: %(default)s)")
    parser.add_argument("--out", default=None, metavar="FILE.json", help="also write the records and the environment")
    warnings.simplefilter("ignore", FutureWarning)
    transformers_logging.disable_progress_bar()
    try:
        options = parser.parse_args(arguments)
        values = _read(options)
        costs = measure(**values)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = Table("method", "path", "step ms", "quartiles", "x PEFT LoRA", "x our LoRA", box=None)
    for c in costs:
        ours = "-" if c.ratio_to_our_lora is None else f"{c.ratio_to_our_lora:.2f}"
        spread = f"{c.step_ms_low:.1f} to {c.step_ms_high:.1f}"
        table.add_row(c.method, c.path, f"{c.step_ms:.1f}", spread, f"{c.ratio_to_stock_lora:.2f}", ours)
    Console().print(table)
    if options.out:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        record = {"environment": environment(device), "records": [asdict(cost) for cost in costs]}
        write_json(Path(options.out), record)
    return 0


def _read(options: argparse.Namespace) -> dict[str, Any]:
    """Check every flag before a model is loaded."""
    readers: dict[str, parsing.Reader] = {
        "methods": parsing.names,
        "paths": parsing.names,
        "rounds": parsing.integer(minimum=2 * BLOCK),
        "warm_up": parsing.integer(minimum=0),
        "rank": parsing.integer(minimum=1),
    }
    values: dict[str, Any] = {"model": options.model}
    for name, reader in readers.items():
        raw = getattr(options, name)
        try:
            values[name] = reader(raw)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')}: found {raw!r}; expected {error}") from None
    for method in values["methods"]:
        if method not in method_names():
            raise UsageError(f"--methods: unknown method {method!r}{nearest(method, method_names())}")
    for path in values["paths"]:
        if path not in PATHS:
            raise UsageError(f"--paths: unknown path {path!r}; expected {' or '.join(PATHS)}")
    if values["rounds"] % BLOCK:
        raise UsageError(f"--rounds: found {values['rounds']}; expected a multiple of {BLOCK}, the length of a block")
    rows, cross, tokens = options.shape.partition("x")
    if not (cross and rows.isdigit() and tokens.isdigit() and int(rows) > 0 and int(tokens) > 1):
        raise UsageError(f"--shape: found {options.shape!r}; expected ROWSxTOKENS, for example 16x64")
    locate_model(options.model)
    if options.out and not Path(options.out).absolute().parent.is_dir():
        raise UsageError(f"--out: the folder of {options.out} does not exist; create it, or choose another")
    return values | {"batch_size": int(rows), "tokens": int(tokens)}


if __name__ == "__main__":
    sys.exit(main())
