"""Optimizer steps of a method on one GPU or several: under DDP, under FSDP2, layers as they are, compiled or replayed.

The micro-batches of a step are dealt to the ranks; one GPU takes all of them one after the other. They are the same
whatever the number of ranks, so that losses differ by the order of sums alone, as far as layers are computed alike.
Times are those of whole steps, optimizer included, the first ones left out.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from benchmarks.environment import synchronize
from benchmarks.step_timing import training_copy
from bilora import attach, build_optimizer
from bilora.compiled import compile_layers, repeated_layers
from bilora.flat import FlatAdamW
from bilora.graphed import GraphedBackward
from bilora.ranks import average

if TYPE_CHECKING:
    from benchmarks.multi_gpu import Records, Setting

DDP, COMPILED, GRAPHED, FSDP2 = "ddp", "compiled", "graphed", "fsdp2"
#: DDP; DDP with compiled layers; compiled layers replayed as CUDA graphs, gradients averaged after them; FSDP2.
#: One rank alone is not wrapped, and is the reference of all ranks.
MODES = (DDP, COMPILED, GRAPHED, FSDP2)
_SKIPPED = 5
# Seconds that a mode may take on an 8B model, compiling included.
_MOST = {DDP: 20.0, COMPILED: 90.0, GRAPHED: 90.0, FSDP2: 20.0}


def measure_training(setting: Setting, methods: Sequence[str], modes: Sequence[str], records: Records) -> None:
    """Record every method in every mode; FSDP2 last, since its models are made anew, and not on one rank."""
    # The other modes share the base's weights.
    shared = [mode for mode in modes if mode != FSDP2]

    def take(base: nn.Module, method: str, mode: str) -> None:
        def work() -> dict[str, Any]:
            found = _steps(base, setting, method, mode)
            one = records.reference("training", method=method, mode=DDP if mode == FSDP2 else mode)
            return found | (_against(found, one) if one else {})

        records.attempt("training", {"method": method, "mode": mode, **_head(setting)}, work, seconds=_MOST[mode])
        _release(setting)

    if shared:
        base = _base(setting)
        for mode in shared:
            for method in methods:
                # Noise is drawn by a function that PyTorch's compiler does not enter.
                if mode == DDP or method != "flat-lora":
                    take(base, method, mode)
        del base
        _release(setting)
    if FSDP2 in modes and distributed.get_world_size() > 1:
        for method in methods:
            take(_base(setting), method, FSDP2)


def _base(setting: Setting) -> nn.Module:
    return setting.model.on(setting.device, setting.dtype, layers=setting.layers)


def _release(setting: Setting) -> None:
    gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
    distributed.barrier()


def _head(setting: Setting) -> dict[str, Any]:
    rows = setting.micro_batches * setting.rows
    return {"shape": setting.shape, "layers": setting.layers, "global_batch": f"{rows}x{setting.tokens}"}


def _against(found: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """Compare all GPUs with one at the same global batch: efficiency is its time over that of N times N."""
    ranks = distributed.get_world_size()
    differences = [abs(a - b) / abs(b) for a, b in zip(found["losses"], one["losses"], strict=True)]
    return {
        "largest_loss_difference": max(differences),
        "efficiency": one["step_ms"] / (ranks * found["step_ms"]),
    }


def _steps(base: nn.Module, setting: Setting, method: str, mode: str) -> dict[str, Any]:
    """Take the steps in one mode."""
    ranks, rank = distributed.get_world_size(), distributed.get_rank()
    torch.manual_seed(1)
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=list(setting.model.target_modules), task_type=setting.model.task_type
    )
    # Sharding replaces a model's weights, so that it is not done to a copy that shares them.
    model, attached = attach(base if mode == FSDP2 else training_copy(base), config, method=method)
    model.train()
    if mode in (COMPILED, GRAPHED):
        compile_layers(model)
    run: Any = model
    if mode == FSDP2:
        for layer in repeated_layers(model):
            fully_shard(layer)
        fully_shard(model)
    elif ranks > 1 and mode != GRAPHED:
        run = DistributedDataParallel(model, broadcast_buffers=False)
    fused: dict[str, Any] = {"fused": True} if setting.device.type == "cuda" and mode != FSDP2 else {}
    kind = FlatAdamW if mode == GRAPHED else torch.optim.AdamW
    optimizer = build_optimizer(attached, lr=1e-4, total_steps=setting.steps, optimizer_class=kind, **fused)
    passes = _replayed(model, setting.micro_batches // ranks) if mode == GRAPHED else partial(_passes, run)
    if setting.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setting.device)
    losses, seconds = [], []
    for step in range(setting.steps):
        own = _batches(setting, step)[rank::ranks]
        synchronize(setting.device)
        started = time.perf_counter()
        loss = attached.gradients(passes(own))
        optimizer.step()
        optimizer.zero_grad()
        synchronize(setting.device)
        seconds.append(time.perf_counter() - started)
        losses.append(loss.clone())
    joint = torch.stack(losses).double()
    distributed.all_reduce(joint)
    joint /= ranks
    timed = sorted(seconds[min(_SKIPPED, len(seconds) - 1) :])
    found: dict[str, Any] = {
        "losses": joint.tolist(),
        "step_ms": 1e3 * statistics.median(timed),
        "step_ms_low": 1e3 * timed[len(timed) // 4],
        "step_ms_high": 1e3 * timed[(3 * len(timed)) // 4],
        "first_step_s": seconds[0],
    }
    if setting.device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(setting.device) / 1e9
    return found


def _passes(model: Any, batches: Sequence[dict[str, Tensor]]) -> Callable[[], Tensor]:
    """Return forward and backward over some micro-batches of equally many tokens; it returns their mean loss."""

    def forward_backward() -> Tensor:
        total = torch.zeros((), device=batches[0]["labels"].device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1 or not isinstance(model, DistributedDataParallel)
            with nullcontext() if last else model.no_sync():
                loss = model(**batch).loss / len(batches)
                loss.backward()
            total += loss.detach()
        return total

    return forward_backward


def _replayed(model: nn.Module, count: int) -> Callable[[Sequence[dict[str, Tensor]]], Callable[[], Tensor]]:
    """Return what `_passes` does, for so many micro-batches a step, by replay and with a mean over the ranks."""

    def one(batch: dict[str, Any]) -> Tensor:
        loss: Tensor = model(**batch).loss / count
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    graphed = GraphedBackward(model, forward_backward=one)

    def passes(batches: Sequence[dict[str, Tensor]]) -> Callable[[], Tensor]:
        def forward_backward() -> Tensor:
            total = torch.stack([graphed(batch) for batch in batches]).sum()
            average([p.grad for p in model.parameters() if p.grad is not None])
            return total

        return forward_backward

    return passes


def _batches(setting: Setting, step: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1000 + step)
    batch = setting.model.batch(setting.micro_batches * setting.rows, setting.tokens, generator)
    moved = {name: values.to(setting.device) for name, values in batch.items()}
    parts = [torch.split(values, setting.rows) for values in moved.values()]
    return [dict(zip(moved, part, strict=True)) for part in zip(*parts, strict=True)]
