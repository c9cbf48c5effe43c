"""`python -m benchmarks.world_size`: does a method's update depend on how many processes train?

Every method trains a tiny Llama for a few steps, once in one process and once in two (gloo on the CPU, NCCL on GPUs),
under DDP and under FSDP2, at the same global batch: two micro-batches a step, which one process takes one after the
other and two take one each. Examples have unequally many scored tokens. The differences of the updates go into a table
of `benchmarks/results/reliability.json`, other sections of which are left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor, distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmarks import parsing
from benchmarks.curvature.options import read_flags
from benchmarks.environment import environment
from benchmarks.errors import UsageError, nearest
from benchmarks.one_line_parser import OneLineParser
from benchmarks.written import write_json
from bilora import SharpnessTrainer, method_names
from bilora.compiled import repeated_layers
from bilora.methods import METHODS

RESULTS = Path(__file__).parent / "results" / "reliability.json"
SECTION = "world_size"
MODES = ("ddp", "fsdp2")
#: DDP with replayed passes, which GPUs alone have.
GRAPHED = "ddp-graphed"
RANKS = 2
_ROWS, _TOKENS, _VOCABULARY, _STEPS = 4, 8, 32, 3

State = dict[str, Tensor]


class HandSharded(SharpnessTrainer):
    """A Trainer whose model is sharded here: accelerate prepares FSDP2 on accelerators only, not on the CPU."""

    def create_optimizer(self, model: Any = None) -> Any:
        """Shard, then build the optimizer."""
        if self.optimizer is None:
            for layer in repeated_layers(self.model):
                fully_shard(layer)
            fully_shard(self.model)
            self.accelerator.prepare_model = lambda model, **_: model
        return super().create_optimizer(model)


def on_ranks(work: Callable[..., Any], folder: Path, *arguments: Any, cuda: bool = False) -> list[Any]:
    """Run `work(*arguments)` in `RANKS` processes that form a process group; return what each returned.

    Starting processes takes seconds, so that `work` should do all there is to do.
    """
    spawn(_one_rank, args=(work, str(folder), arguments, cuda), nprocs=RANKS)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"rank-{index}.pt", weights_only=False) for index in range(RANKS)]


def _one_rank(index: int, work: Callable[..., Any], folder: str, arguments: Sequence[Any], cuda: bool) -> None:
    torch.set_num_threads(1)
    size = str(RANKS)
    os.environ.update(RANK=str(index), LOCAL_RANK=str(index), WORLD_SIZE=size, LOCAL_WORLD_SIZE=size)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    if cuda:
        torch.cuda.set_device(index)
    else:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    backend = "nccl" if cuda else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{folder}/meet", rank=index, world_size=RANKS)
    try:
        torch.save(work(*arguments), f"{folder}/rank-{index}.pt")
    finally:
        distributed.destroy_process_group()


def examples(count: int = 48) -> list[dict[str, list[int]]]:
    """Return random rows of which the first one to five tokens are not scored."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    for index in range(count):
        ids = torch.randint(1, _VOCABULARY, (_TOKENS,), generator=generator).tolist()
        hidden = 1 + index % 5
        rows.append({"input_ids": ids, "labels": [-100] * hidden + ids[hidden:]})
    return rows


def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Return rows of equal length as a batch."""
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


def trainer(
    name: str,
    folder: Path,
    *,
    passes: int,
    mode: str = "ddp",
    dtype: torch.dtype = torch.float64,
    options: dict[str, Any] | None = None,
    adapter: dict[str, Any] | None = None,
    recomputed: bool = False,
    cuda: bool = False,
    **changes: Any,
) -> SharpnessTrainer:
    """Return a run of a method on the tiny Llama.

    Args:
        name: The method.
        folder: The Trainer's own.
        passes: Micro-batches that each rank takes a step.
        mode: One of `MODES`, if there are several ranks.
        dtype: Type of all weights.
        options: The method's.
        adapter: Changes to the adapter's configuration.
        recomputed: Whether activations are checkpointed.
        cuda: Whether it trains on GPUs.
        **changes: Other training arguments.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        pad_token_id=0,
        use_cache=False,
    )
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": _ROWS,
        "gradient_accumulation_steps": passes,
        "max_steps": _STEPS,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": not cuda,
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        "seed": 4,
        "data_seed": 4,
    }
    kind: type[SharpnessTrainer] = SharpnessTrainer
    if mode == "fsdp2" and cuda:
        settings |= {"fsdp": "full_shard auto_wrap", "fsdp_config": dict(_FSDP)}
    elif mode == "fsdp2":
        kind = HandSharded
    factors = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **(adapter or {})}
    model = LlamaForCausalLM(config).to(dtype)
    torch.manual_seed(3)
    arguments = TrainingArguments(**{**settings, **changes})
    if arguments.n_gpu > 1:
        # A Trainer without ranks would take all GPUs of the machine, with as many times the batch.
        arguments._n_gpu = 1
    run = kind(
        model,
        arguments,
        method=name,
        method_options=options,
        cuda_graphs=mode == GRAPHED,
        peft_config=None if METHODS[name].trains_all_weights else LoraConfig(**factors),
        train_dataset=examples(),
        data_collator=collate,
    )
    run.remove_callback(PrinterCallback)
    run.model.to(dtype)
    if recomputed:
        switch: Any = getattr(run.model, "activation_checkpointing_enable", None)
        (switch or run.model.gradient_checkpointing_enable)({"use_reentrant": False})
    return run


_FSDP = {"version": 2, "fsdp_version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}


def trained(run: SharpnessTrainer) -> tuple[State, State]:
    """Train; return the update of every parameter that may change, whole, and numbers that were logged or counted."""
    before = _whole(run)
    run.train()
    update = {name: value - before[name] for name, value in _whole(run).items()}
    logged = next(entry for entry in reversed(run.state.log_history) if "loss" in entry)
    numbers = {key: logged[key] for key in ("grad_norm", "perturbation_norm", "clip_active") if key in logged}
    numbers |= {"gradients": run.method.cost.gradients, "forwards": run.method.cost.forwards}
    return update, {key: torch.tensor(value, dtype=torch.float64) for key, value in numbers.items()}


def _whole(run: SharpnessTrainer) -> State:
    held = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad or ".auxiliary." in n}
    return {
        name.removeprefix("module."): (p.full_tensor() if isinstance(p, DTensor) else p).cpu().clone()
        for name, p in held.items()
    }


def relative_difference(found: State, expected: State) -> float:
    """Return ||found - expected|| / ||expected|| over all tensors together."""
    difference = torch.stack([(found[name] - value).norm() for name, value in expected.items()]).norm()
    return float(difference / torch.stack([value.norm() for value in expected.values()]).norm())


def _train_all(cases: Sequence[tuple[str, str]], folder: Path, cuda: bool, dtype: torch.dtype) -> list[State]:
    return [trained(trainer(name, folder, passes=1, mode=mode, cuda=cuda, dtype=dtype))[0] for name, mode in cases]


def measure(methods: Sequence[str], modes: Sequence[str], *, cuda: bool, dtype: torch.dtype) -> dict[str, Any]:
    """Return, per method, the largest relative difference over the ranks of its update from that of one process."""
    cases = [(name, mode) for mode in modes for name in methods if mode != GRAPHED or METHODS[name].replayable]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ranks = on_ranks(_train_all, folder, cases, folder, cuda, dtype, cuda=cuda)
        expected = {
            method: trained(trainer(method, folder, passes=RANKS, cuda=cuda, dtype=dtype))[0] for method in methods
        }
    table: dict[str, dict[str, float]] = {method: {} for method in methods}
    for index, (method, mode) in enumerate(cases):
        table[method][mode] = max(relative_difference(own[index], expected[method]) for own in ranks)
    return {
        "what": "||update of two processes - update of one|| / ||update of one||, over all trained tensors",
        "steps": _STEPS,
        "global_batch": f"{RANKS} micro-batches of {_ROWS}x{_TOKENS} tokens",
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
    add(
        "--modes",
        default="ddp,fsdp2",
        help=f"ways to train in two processes, of {', '.join(MODES)} (default: ddp,fsdp2)",
    )
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
    known: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    section = SECTION if not values["cuda"] else f"{SECTION}_gpu"
    write_json(out, known | {section: found})
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
    for flag, chosen, known in (("methods", methods, method_names()), ("modes", values["modes"], [*MODES, GRAPHED])):
        for name in chosen:
            if name not in known:
                raise UsageError(f"--{flag}: unknown {name!r}{nearest(name, known)}")
    cuda = values["device"] == "cuda"
    if GRAPHED in values["modes"] and not cuda:
        raise UsageError(f"--modes: {GRAPHED} replays CUDA graphs; add --device cuda")
    if cuda and torch.cuda.device_count() < RANKS:
        raise UsageError(f"--device: cuda needs {RANKS} GPUs here, found {torch.cuda.device_count()}")
    return {
        "methods": methods,
        "modes": list(values["modes"]),
        "cuda": cuda,
        "dtype": getattr(torch, values["dtype"]),
        "out": Path(options.out),
    }


if __name__ == "__main__":
    sys.exit(main())
