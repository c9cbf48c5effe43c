"""`torchrun --nproc-per-node 2 -m benchmarks.multi_gpu`: training and curvature over the GPUs of one host, against one.

With `--nproc-per-node 1` it makes the reference: one GPU, the same global batch. With more, `--against` the file of
the reference, it compares losses step by step, times, peak memory, and gives the scaling efficiency, one GPU's time
over that of N times N. Weights are random, since neither time nor the question whether two ways agree depends on them.
Every stage is written as soon as it is done, and none starts that would not end before `--limit` seconds. The shape
`tiny` runs the same code on processes of a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import AutoModelForCausalLM

from benchmarks import parsing
from benchmarks.curvature.shapes import LlamaShape
from benchmarks.environment import environment
from benchmarks.errors import UsageError, first_line, nearest
from benchmarks.flags import read_flags, read_out
from benchmarks.model_shapes import SHAPES, ModelShape, language_batch, transformer
from benchmarks.multi_gpu_curvature import WAYS, measure_curvature
from benchmarks.multi_gpu_training import MODES, measure_training
from benchmarks.one_line_parser import OneLineParser
from benchmarks.written import write_json
from bilora import method_names

STAGES = ("training", "curvature")
_TINY = LlamaShape(hidden=32, intermediate=56, layers=2, heads=4, kv_heads=2, vocabulary=64)
LANGUAGE_SHAPES = {name: shape for name, shape in SHAPES.items() if shape.task_type == "CAUSAL_LM"} | {
    "tiny": replace(
        SHAPES["llama-3.1-8b"],
        layers=2,
        build=transformer(AutoModelForCausalLM, _TINY.config()),
        batch=language_batch(_TINY.vocabulary),
    )
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured.

    Attributes:
        shape: Name of the model's shape.
        layers: Only so many of its layers; None for all.
        rows: Rows of a micro-batch.
        micro_batches: Micro-batches of an optimizer step, over all ranks.
        tokens: Tokens of a row.
        steps: Optimizer steps.
        device: This rank's.
        dtype: Type of the base weights.
    """

    shape: str
    layers: int | None
    rows: int
    micro_batches: int
    tokens: int
    steps: int
    device: torch.device
    dtype: torch.dtype

    @property
    def model(self) -> ModelShape:
        """The shape."""
        return LANGUAGE_SHAPES[self.shape]


class Records:
    """The results so far, in a file that rank 0 rewrites after every stage; the clock of the whole command."""

    def __init__(self, out: Path | None, against: dict[str, Any], device: torch.device, *, limit: float) -> None:
        self._out = out
        self._against = against
        self._started = time.perf_counter()
        self._limit = limit
        self.content: dict[str, Any] = {
            "environment": environment(device) | {"ranks": distributed.get_world_size()},
            "training": [],
            "curvature": [],
        }

    def add(self, stage: str, record: dict[str, Any]) -> None:
        """Keep and write a record."""
        self.content[stage].append(record)
        shown = {key: value for key, value in record.items() if not isinstance(value, list)}
        self.say(f"{stage}: {shown}")
        if self._out is not None and distributed.get_rank() == 0:
            write_json(self._out, self.content)

    def reference(self, stage: str, **named: str) -> dict[str, Any] | None:
        """Return the record of one GPU by these names, if it was measured."""
        for record in self._against.get(stage, []):
            if "error" not in record and all(record[name] == value for name, value in named.items()):
                return dict(record)
        return None

    def say(self, text: str) -> None:
        """Print a line with the time, on rank 0."""
        if distributed.get_rank() == 0:
            print(f"[{time.perf_counter() - self._started:5.0f} s] {text}", flush=True)

    def time_for(self, seconds: float) -> bool:
        """Whether all ranks still have so many seconds."""
        left = torch.tensor(float(self._limit - (time.perf_counter() - self._started) > seconds))
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        left = left.to(device)
        distributed.all_reduce(left, op=distributed.ReduceOp.MIN)
        return bool(left)

    def attempt(self, stage: str, head: dict[str, Any], work: Callable[[], dict[str, Any]], *, seconds: float) -> None:
        """Record what `work` returns, that it ran out of memory, or that there was no time."""
        if not self.time_for(seconds):
            self.add(stage, head | {"error": "no time was left"})
            return
        self.say(f"{head} ...")
        try:
            self.add(stage, head | work())
        except torch.cuda.OutOfMemoryError as error:
            self.add(stage, head | {"error": first_line(error)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on this rank; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="torchrun -m benchmarks.multi_gpu", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--shape", default="llama-3.1-8b", help=f"one of {', '.join(LANGUAGE_SHAPES)} (default: %(default)s)")
    add("--layers", default="all", help="only so many of the shape's layers (default: %(default)s)")
    add("--stages", default="training,curvature", help="what to measure (default: %(default)s)")
    add("--methods", default="bilora,lora,lora-sam,flat-lora", help="methods to train (default: %(default)s)")
    add("--modes", default=",".join(MODES), help="ways to train (default: %(default)s)")
    add("--ways", default=",".join(WAYS), help="ways to take curvature (default: %(default)s)")
    add("--micro-batches", default="2", help="micro-batches of a step, over all ranks (default: %(default)s)")
    add("--rows", default="4", help="rows of a micro-batch (default: %(default)s)")
    add("--curvature-rows", default="16", help="rows of the data whose curvature is taken (default: %(default)s)")
    add("--sharded-rows", default="8", help="rows of a micro-batch where matrices are sharded (default: %(default)s)")
    add("--tokens", default="256", help="tokens of a row (default: %(default)s)")
    add("--steps", default="20", help="optimizer steps (default: %(default)s)")
    add("--products", default="40", help="curvature products at most (default: %(default)s)")
    add("--tolerance", default="1e-2", help="relative residual of the eigenvalues (default: %(default)s)")
    add("--limit", default="520", help="seconds after which no stage is started that would end later (default: 520)")
    add("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    add("--against", default=None, metavar="FILE.json", help="records of one GPU")
    add("--out", default=None, metavar="FILE.json", help="file that holds the records")
    try:
        options = parser.parse_args(arguments)
        values, out = _read(options), read_out(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    device = _start(values["device"])
    setting = Setting(
        shape=options.shape,
        layers=None if options.layers == "all" else int(options.layers),
        device=device,
        dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
        **{name: values[name] for name in ("rows", "micro_batches", "tokens", "steps")},
    )
    records = Records(out, values["against"], device, limit=values["limit"])
    try:
        for stage in values["stages"]:
            if stage == "training":
                measure_training(setting, values["methods"], values["modes"], records)
                continue
            measure_curvature(
                setting,
                values["ways"],
                records,
                rows=values["curvature_rows"],
                sharded_rows=values["sharded_rows"],
                max_products=values["products"],
                tolerance=values["tolerance"],
            )
        records.say("done")
    finally:
        distributed.destroy_process_group()
    return 0


def _read(options: argparse.Namespace) -> dict[str, Any]:
    whole, positive = parsing.integer(minimum=1), parsing.number(minimum=0, exclusive=True)
    readers: dict[str, parsing.Reader] = {
        "stages": parsing.names,
        "methods": parsing.names,
        "modes": parsing.names,
        "ways": parsing.names,
        "device": parsing.choice("cuda", "cpu"),
        "tokens": parsing.integer(minimum=2),
        "limit": positive,
        "tolerance": positive,
        **dict.fromkeys(("rows", "micro_batches", "curvature_rows", "sharded_rows", "steps", "products"), whole),
    }
    if options.layers != "all":
        readers["layers"] = whole
    values = read_flags(options, readers)
    known = {"stages": STAGES, "methods": tuple(method_names()), "modes": MODES, "ways": WAYS}
    for flag, names in known.items():
        for name in values[flag]:
            if name not in names:
                raise UsageError(
                    f"--{flag}: unknown {name!r}{nearest(name, names)}; expected any of {', '.join(names)}"
                )
    if options.shape not in LANGUAGE_SHAPES:
        raise UsageError(f"--shape: unknown {options.shape!r}{nearest(options.shape, LANGUAGE_SHAPES)}")
    against = {} if options.against is None else _reference(Path(options.against))
    if not distributed.is_torchelastic_launched():
        raise UsageError("start this with torchrun, for example torchrun --standalone --nproc-per-node 2 -m ...")
    if values["micro_batches"] % int(os.environ["WORLD_SIZE"]):
        raise UsageError(f"--micro-batches: found {values['micro_batches']}; expected a multiple of the ranks")
    return values | {"against": against}


def _reference(path: Path) -> dict[str, Any]:
    """Return the records of one GPU."""
    if not path.is_file():
        raise UsageError(f"--against: {path} is no file; make it with --nproc-per-node 1")
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--against: {path} is no JSON ({first_line(error)})") from None
    if not isinstance(found, dict) or not isinstance(found.get("training"), list):
        raise UsageError(f"--against: {path} holds no records of this command (--out with --nproc-per-node 1)")
    return found


def _start(kind: str) -> torch.device:
    """Join the ranks, which torchrun has started, and return this one's device."""
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    if kind == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", distributed.get_node_local_rank())
    torch.cuda.set_device(device)
    return device


if __name__ == "__main__":
    sys.exit(main())
