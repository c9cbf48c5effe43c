"""`python -m benchmarks.world_size`: does a method's update depend on how many processes train?

Every method trains a tiny Llama for a few steps, once in one process and once in two (gloo on the CPU, NCCL on GPUs),
under DDP and under FSDP2, at the same global batch: two micro-batches a step, which one process takes one after the
other and two take one each. Examples have unequally many scored tokens. Two GPUs have two more ways: `ddp-graphed`
replays passes as CUDA graphs, for methods whose passes can be, and `spread` is one process with a layer on each GPU.
The differences of the updates go into a table of `benchmarks/results/reliability.json`, other sections of which stay.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.distributed.tensor import DTensor

from benchmarks import parsing
from benchmarks.environment import environment
from benchmarks.errors import UsageError, nearest
from benchmarks.flags import read_flags, read_out
from benchmarks.on_ranks import RANKS, on_ranks
from benchmarks.one_line_parser import OneLineParser
from benchmarks.reliability.record import RESULTS, read_record
from benchmarks.tiny_trainer import (
    GRAPHED,
    MODES,
    ROWS,
    SPREAD,
    STEPS,
    TOKENS,
    State,
    relative_difference,
    trained,
    trainer,
)
from benchmarks.written import write_json
from bilora import method_names
from bilora.methods import METHODS

SECTION = "world_size"
#: All ways, and those that need GPUs.
_WAYS = (*MODES, GRAPHED, SPREAD)
_ON_GPUS = (GRAPHED, SPREAD)


def _train_all(methods: Sequence[str], mode: str, folder: Path, cuda: bool, dtype: torch.dtype) -> list[State]:
    updates = []
    for name in methods:
        run = trainer(name, folder, passes=1, mode=mode, cuda=cuda, dtype=dtype)
        updates.append(trained(run)[0])
        if mode == "fsdp2" and not any(isinstance(p, DTensor) for p in run.model.parameters()):
            raise RuntimeError(f"{name}: fsdp2 was asked for, and nothing is sharded")
    return updates


def measure(methods: Sequence[str], modes: Sequence[str], *, cuda: bool, dtype: torch.dtype) -> dict[str, Any]:
    """Return, per method, the largest relative difference over the ranks of its update from that of one process."""
    table: dict[str, dict[str, float]] = {method: {} for method in methods}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def alone(method: str, mode: str) -> State:
            return trained(trainer(method, folder, passes=RANKS, mode=mode, cuda=cuda, dtype=dtype))[0]

        expected = {method: alone(method, MODES[0]) for method in methods}
        for mode in modes:
            chosen = [method for method in methods if mode != GRAPHED or METHODS[method].replayable]
            if mode == SPREAD:
                updates = [[alone(method, SPREAD) for method in chosen]]
            else:
                # What accelerate makes of a process at first is what it stays: each way has processes of its own.
                (meeting := folder / mode).mkdir()
                updates = on_ranks(_train_all, meeting, chosen, mode, meeting, cuda, dtype, cuda=cuda)
            for index, method in enumerate(chosen):
                table[method][mode] = max(relative_difference(own[index], expected[method]) for own in updates)
    return {
        "what": "||update of two processes - update of one|| / ||update of one||, over all trained tensors",
        "steps": STEPS,
        "global_batch": f"{RANKS} micro-batches of {ROWS}x{TOKENS} tokens",
        "dtype": str(dtype).removeprefix("torch."),
        "backend": "nccl" if cuda else "gloo",
        "methods": table,
        "environment": environment(torch.device("cuda" if cuda else "cpu")),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.world_size", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--methods", default="all", help="methods to train (default: all)")
    add("--modes", default=",".join(MODES), help=f"ways to train, of {', '.join(_WAYS)} (default: %(default)s)")
    add("--device", default="cpu", help="cpu, or cuda with two GPUs (default: %(default)s)")
    add("--dtype", default="float64", help="float64 or float32 (default: %(default)s)")
    add("--out", default=str(RESULTS), metavar="FILE.json", help="file whose section is written (default: results)")
    warnings.simplefilter("ignore")
    try:
        values = _read(parser.parse_args(arguments))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out: Path = values.pop("out")
    found = measure(**values)
    section = SECTION if not values["cuda"] else f"{SECTION}_gpu"
    write_json(out, read_record(out, flag="--out") | {section: found})
    table = Table("method", *values["modes"], box=None)
    for method, row in found["methods"].items():
        table.add_row(method, *(f"{row[mode]:.1e}" if mode in row else "-" for mode in values["modes"]))
    Console().print(table)
    return 0


def _read(options: argparse.Namespace) -> dict[str, Any]:
    values = read_flags(
        options,
        {
            "methods": parsing.names,
            "modes": parsing.names,
            "device": parsing.choice("cpu", "cuda"),
            "dtype": parsing.choice("float64", "float32"),
        },
    )
    methods = method_names() if options.methods == "all" else list(values["methods"])
    for flag, chosen, known in (("methods", methods, method_names()), ("modes", values["modes"], _WAYS)):
        for name in chosen:
            if name not in known:
                raise UsageError(
                    f"--{flag}: unknown {name!r}{nearest(name, known)}; expected any of {', '.join(known)}"
                )
    cuda = values["device"] == "cuda"
    for mode in values["modes"]:
        if mode in _ON_GPUS and not cuda:
            raise UsageError(f"--modes: {mode} needs two GPUs; add --device cuda")
    if cuda and torch.cuda.device_count() < RANKS:
        raise UsageError(f"--device: cuda needs {RANKS} GPUs here, found {torch.cuda.device_count()}")
    out = read_out(options)
    assert out is not None  # it has a default
    read_record(out, flag="--out")  # what is wrong with it is said before anything is trained
    return {
        "methods": methods,
        "modes": list(values["modes"]),
        "cuda": cuda,
        "dtype": getattr(torch, values["dtype"]),
        "out": out,
    }


if __name__ == "__main__":
    sys.exit(main())
