"""Optimizer steps of stock PEFT LoRA, of every method on every path, and of the floor; and the clock for them.

A step takes a batch, so that one model is timed on several shapes. All models of a run share the base's weights.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from benchmarks.environment import synchronize
from benchmarks.errors import first_line
from bilora import attach, build_optimizer
from bilora.compiled import allow_several_kinds, compile_layers, repeated_layers
from bilora.example_losses import example_losses
from bilora.flat import FlatAdamW
from bilora.graphed import GraphedBackward
from bilora.methods import METHODS

Batch = dict[str, Tensor]
Step = Callable[[Batch], None]
# LookSAM's cost comes every fifth step; a block of rounds holds one of them.
BLOCK = 5

STOCK, FUSED, COMPILED, GRAPHED = "stock", "fused", "compiled", "graphed"
#: PEFT's own forward; active adapters as one; also with compiled layers; also replayed as CUDA graphs.
PATHS = (STOCK, FUSED, COMPILED, GRAPHED)


def training_copy(base: nn.Module, *, share_weights: bool = True) -> nn.Module:
    """Return a copy of a model set up for training, with the same weights or with its own."""
    copied: Any = copy.deepcopy(base, {id(p): p for p in base.parameters()} if share_weights else None)
    if hasattr(copied, "config"):
        copied.config.use_cache = False
    return cast("nn.Module", copied)


def stock_step(base: nn.Module, config: LoraConfig, *, compiled: bool = False) -> Step:
    """Return a step of LoRA as PEFT ships it: forward, backward, clip, fused AdamW.

    Args:
        base: The model, which is left as it is.
        config: The adapter.
        compiled: Whether layers are compiled and adapters of the base's type, the fastest PEFT has to offer.
    """
    model: Any = get_peft_model(training_copy(base), config, autocast_adapter_dtype=not compiled).train()
    if compiled:
        allow_several_kinds()
        for layer in repeated_layers(model):
            layer.compile()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)

    def step(batch: Batch) -> None:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def floor_step(base: nn.Module, *, blocks: Sequence[str] = (), compiled: bool = False) -> Step:
    """Return what no LoRA step can do without: a forward pass of the frozen model and the gradient of its input.

    Args:
        base: The model, which is left as it is.
        blocks: Classes of its repeated layers, where they are not marked.
        compiled: Whether they are compiled.
    """
    model: Any = training_copy(base).train().requires_grad_(False)
    if compiled:
        allow_several_kinds()
        for layer in [m for m in model.modules() if type(m).__name__ in blocks] or repeated_layers(model):
            layer.compile()
    embeds = hasattr(model, "enable_input_require_grads")
    if embeds:
        model.enable_input_require_grads()

    def step(batch: Batch) -> None:
        if not embeds:
            batch = {k: v.detach().requires_grad_(v.is_floating_point()) for k, v in batch.items()}
        model(**batch).loss.backward()

    return step


def method_step(base: nn.Module, config: LoraConfig, *, method: str, path: str, steps: int) -> Step:
    """Return a step of a method of this project.

    Args:
        base: The model to attach the method to, which is left as it is.
        config: Its primary adapter.
        method: Name of the method.
        path: One of `PATHS`.
        steps: How many steps will be taken, for methods with a schedule.
    """
    chosen = METHODS[method]
    if chosen.trains_all_weights:
        model, attached = attach(training_copy(base, share_weights=False), method=method)
    else:
        model, attached = attach(training_copy(base), config, method=method, fused=path != STOCK)
    model.train()
    if path in (COMPILED, GRAPHED):
        compile_layers(model)
    graphed = GraphedBackward(model) if path == GRAPHED else None
    # Gradients that come in one piece are best met by an optimizer that works in one.
    kind = FlatAdamW if path == GRAPHED else torch.optim.AdamW
    optimizer = build_optimizer(attached, lr=1e-4, optimizer_class=kind, fused=True, total_steps=steps)

    def step(batch: Batch) -> None:
        def forward_backward(kept: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
            if graphed is not None:
                return graphed(batch)
            rows = batch if kept is None else {name: values[kept] for name, values in batch.items()}
            outputs = model(**rows)
            outputs.loss.backward()
            loss: Tensor = outputs.loss.detach()
            if not chosen.needs_example_losses:
                return loss
            return loss, example_losses(model, outputs.logits.detach(), rows["labels"])

        attached.gradients(
            forward_backward,
            loss=lambda: model(**batch).loss,
            example_losses=lambda: example_losses(model, model(**batch).logits, batch["labels"]),
        )
        optimizer.step()
        optimizer.zero_grad()

    return step


def time_steps(
    steps: Mapping[str, Callable[[], None]],
    *,
    rounds: int,
    warm_up: int,
    device: torch.device,
    failures: dict[str, str] | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of every round of every step, taken in turn.

    Args:
        steps: Steps by name.
        rounds: Timed rounds.
        warm_up: Rounds before them that are not counted.
        device: Where the steps run; a CUDA device is synchronised before each reading of the clock.
        failures: Gets the reason of every step that failed, which is left out from then on; None lets errors pass.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(warm_up + rounds):
        for name in list(seconds):
            try:
                synchronize(device)
                started = time.perf_counter()
                steps[name]()
                synchronize(device)
            except RuntimeError as error:
                if failures is None:
                    raise
                failures[name] = first_line(error)
                del seconds[name]
                continue
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def blocks(seconds: Sequence[float]) -> list[float]:
    """Return the mean over each block of `BLOCK` rounds."""
    return [statistics.fmean(seconds[start : start + BLOCK]) for start in range(0, len(seconds), BLOCK)]
