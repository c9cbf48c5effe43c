"""Several processes on one CPU that talk by gloo, and training runs that are the same however many there are.

Starting processes takes seconds, so that a test starts them once and has them do all its cases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, multiprocessing
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from bilora import SharpnessTrainer
from bilora.compiled import repeated_layers
from bilora.methods import METHODS
from tests.tiny import as_batch, examples, lora_config, tiny_llama

WORLD = 2
ROWS = 4  # of a micro-batch


def on_ranks(work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """Run `work(*arguments)` on every rank and return what each returned."""
    multiprocessing.spawn(_one_rank, args=(work, str(folder), arguments), nprocs=WORLD)
    return [torch.load(folder / f"rank-{index}.pt", weights_only=False) for index in range(WORLD)]


def _one_rank(index: int, work: Callable[..., Any], folder: str, arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(index), LOCAL_RANK=str(index), WORLD_SIZE=str(WORLD), LOCAL_WORLD_SIZE=str(WORLD))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", ACCELERATE_USE_CPU="true")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=index, world_size=WORLD)
    try:
        torch.save(work(*arguments), f"{folder}/rank-{index}.pt")
    finally:
        torch.distributed.destroy_process_group()


class ShardedTrainer(SharpnessTrainer):
    """A Trainer whose model FSDP2 has sharded; accelerate does so on accelerators only, and it is done here by hand."""

    def create_optimizer(self, model: Any = None) -> Any:
        if self.optimizer is None:
            for layer in repeated_layers(self.model):
                fully_shard(layer)
            fully_shard(self.model)
            self.accelerator.prepare_model = lambda model, **_: model
        return super().create_optimizer(model)


def trainer(
    name: str,
    folder: Path,
    *,
    passes: int,
    sharded: bool = False,
    steps: int = 3,
    double: bool = True,
    config: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> SharpnessTrainer:
    """A run whose effective batch is that of `passes` micro-batches on each rank, with unequally many scored tokens."""
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": ROWS,
        "gradient_accumulation_steps": passes,
        "max_steps": steps,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 4,
        "data_seed": 4,
    }
    model = tiny_llama()
    torch.manual_seed(3)
    run = (ShardedTrainer if sharded else SharpnessTrainer)(
        model,
        TrainingArguments(**{**settings, **changes}),
        method=name,
        method_options=options,
        peft_config=None if METHODS[name].trains_all_weights else lora_config(**(config or {})),
        train_dataset=examples(48),
        data_collator=as_batch,
    )
    run.remove_callback(PrinterCallback)
    if double:
        run.model.double()
    return run


def trained_state(run: SharpnessTrainer) -> dict[str, Tensor]:
    """Train, and return every parameter that may have changed, whole, and what was logged last."""
    run.train()
    held = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad or ".auxiliary." in n}
    state = {n.removeprefix("module."): p.full_tensor() if isinstance(p, DTensor) else p for n, p in held.items()}
    logged = next(entry for entry in reversed(run.state.log_history) if "loss" in entry)
    numbers = {key: value for key, value in logged.items() if key in ("grad_norm", "perturbation_norm", "clip_active")}
    numbers |= {"gradients": run.method.cost.gradients, "forwards": run.method.cost.forwards}
    return {key: value.clone() for key, value in state.items()} | {k: torch.tensor(v) for k, v in numbers.items()}


def largest_difference(found: dict[str, Tensor], expected: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    """Return ||found - expected|| / ||expected - start|| of the updates, over all parameters."""
    names = list(start)
    difference = torch.stack([(found[n] - expected[n]).norm() for n in names]).norm()
    update = torch.stack([(expected[n] - start[n]).norm() for n in names]).norm()
    return float(difference / update)
