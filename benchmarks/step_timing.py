"""Optimizer steps of stock PEFT LoRA and of every method, and the clock that takes them in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from benchmarks.environment import synchronize
from bilora import attach, build_optimizer
from bilora.example_losses import example_losses
from bilora.methods import METHODS

Step = Callable[[], None]
# LookSAM's cost comes every fifth step; a block of rounds holds one of them.
BLOCK = 5


def stock_step(base: Any, config: LoraConfig, batch: dict[str, Tensor]) -> Step:
    """Return a step of LoRA as PEFT ships it: forward, backward, clip, fused AdamW."""
    model = get_peft_model(base, config).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def step() -> None:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def method_step(
    base: Any, config: LoraConfig, batch: dict[str, Tensor], *, method: str, fused: bool, steps: int
) -> Step:
    """Return a step of a method of this project.

    Args:
        base: The model to attach the method to.
        config: Its primary adapter.
        batch: The effective batch of every step.
        method: Name of the method.
        fused: Whether active adapters run as one.
        steps: How many steps will be taken, for methods with a schedule.
    """
    chosen = METHODS[method]
    model, attached = attach(base, None if chosen.trains_all_weights else config, method=method, fused=fused)
    model.train()
    optimizer = build_optimizer(attached, lr=1e-4, fused=True, total_steps=steps)

    def forward_backward(kept: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        rows = batch if kept is None else {name: values[kept] for name, values in batch.items()}
        outputs = model(**rows)
        outputs.loss.backward()
        loss: Tensor = outputs.loss.detach()
        if not chosen.needs_example_losses:
            return loss
        return loss, example_losses(model, outputs.logits.detach(), rows["labels"])

    def step() -> None:
        attached.gradients(
            forward_backward,
            loss=lambda: model(**batch).loss,
            example_losses=lambda: example_losses(model, model(**batch).logits, batch["labels"]),
        )
        optimizer.step()
        optimizer.zero_grad()

    return step


def time_steps(steps: dict[str, Step], *, rounds: int, warm_up: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of every round of every step, taken in turn.

    Args:
        steps: Steps by name.
        rounds: Timed rounds.
        warm_up: Rounds before them that are not counted.
        device: Where the steps run; a CUDA device is synchronised before each reading of the clock.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(warm_up + rounds):
        for name, step in steps.items():
            synchronize(device)
            started = time.perf_counter()
            step()
            synchronize(device)
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def blocks(seconds: Sequence[float]) -> list[float]:
    """Return the mean over each block of `BLOCK` rounds."""
    return [statistics.fmean(seconds[start : start + BLOCK]) for start in range(0, len(seconds), BLOCK)]
