"""Pretraining loop of the pocket bases: a loss on packed rows, AdamW, one process, one device.

Shards are trained on in order as the workers finish them, and again in later epochs with their rows reshuffled.
The learning rate warms up and then follows a half cosine of *progress*: the larger of the share of tokens seen and
the share of minutes spent, so that a run which is limited by time still ends at learning rate zero. With a token
budget alone the order of the data is the same everywhere. T5 starts its matrices at scales far apart (embeddings at 1,
queries at a hundredth of it) and was trained by Adafactor, whose steps are relative to the size of what they change
(Shazeer and Stern 2018, arXiv 1804.04235); `relative` gives AdamW's learning rates the same proportions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from benchmarks.pocket.corpus import PAD, Rows
from bilora.flat import FlatAdamW
from bilora.graphed import GraphedBackward


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a pretraining run.

    Attributes:
        tokens: Tokens to train on, repetitions counted, padding not.
        minutes: Limit on the training time, counted from the end of the first step; None for no limit.
        batch_rows: Rows per optimizer step.
        learning_rate: Peak learning rate.
        weight_decay: AdamW's decoupled decay of all matrices (not of the norms).
        warmup: Share of the run in which the learning rate rises linearly.
        gradient_norm: Global L2 norm at which gradients are clipped.
        seed: Seed of the row order.
        compile: Compile the model with torch.compile.
        cuda_graphs: Replay both passes as one CUDA graph, which pays where kernels are faster than Python.
        relative: Multiply the learning rate of every parameter by its root mean square at the start.
    """

    tokens: int
    minutes: float | None = None
    batch_rows: int = 256
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    warmup: float = 0.02
    gradient_norm: float = 1.0
    seed: int = 0
    compile: bool = False
    cuda_graphs: bool = False
    relative: bool = False


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A point of the training curve: mean loss in nats per token since the point before."""

    step: int
    tokens: int
    seconds: float
    learning_rate: float
    loss: float


def rate_factor(progress: float, warmup: float) -> float:
    """Share of the peak learning rate at a progress in [0, 1]: linear rise, then half a cosine to zero."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def row_batches(shards: Iterable[Rows], settings: TrainingSettings) -> Iterator[Rows]:
    """Yield batches without end: the shards in order, then again and again with shuffled rows.

    Raises:
        ValueError: If no shard fills a batch.
    """
    kept: list[Rows] = []
    for shard in shards:
        kept.append(shard)
        yield from _split(shard, settings.batch_rows)
    if not kept or all(len(shard) < settings.batch_rows for shard in kept):
        raise ValueError(f"corpus: no shard has the {settings.batch_rows} rows of a batch; lower --batch-rows")
    epoch = 0
    while True:
        epoch += 1
        rng = np.random.default_rng((settings.seed, epoch))
        for position in rng.permutation(len(kept)):
            yield from _split(kept[position][rng.permutation(len(kept[position]))], settings.batch_rows)


def _split(rows: Rows, size: int) -> Iterator[Rows]:
    for first in range(0, len(rows) - size + 1, size):
        yield rows[first : first + size]


def next_token_loss(model: LlamaForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the tokens that follow another one in their row; padding is ignored."""
    logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten(), ignore_index=PAD)


def predicted_tokens(rows: Rows) -> int:
    """Count the tokens of a batch that follow another one in their row."""
    return int(np.count_nonzero(rows)) - len(rows)


def _optimizer(model: torch.nn.Module, settings: TrainingSettings, device: torch.device) -> torch.optim.AdamW:
    """Build AdamW; every group has a `scale`, which its learning rate is a multiple of."""
    grouped: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for parameter in model.parameters():
        decay = settings.weight_decay if parameter.ndim >= 2 else 0.0
        scale = parameter.detach().square().mean().sqrt().item() if settings.relative else 1.0
        grouped.setdefault((decay, scale), []).append(parameter)
    groups = [{"params": found, "weight_decay": decay, "scale": scale} for (decay, scale), found in grouped.items()]
    if settings.cuda_graphs:
        return FlatAdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=device.type == "cuda")


def _finite_mean(losses: list[torch.Tensor], step: int) -> float:
    mean = torch.stack(losses).mean().item()
    if not math.isfinite(mean):
        raise ValueError(f"pretraining: the loss became {mean} at step {step}; lower --learning-rate")
    return mean


def train(
    model: torch.nn.Module,
    shards: Iterable[Rows],
    settings: TrainingSettings,
    *,
    report: Callable[[CurvePoint], None],
    points: int = 100,
    loss: Callable[[Any, torch.Tensor], torch.Tensor] = next_token_loss,
    count: Callable[[Rows], int] = predicted_tokens,
) -> list[CurvePoint]:
    """Train a model in place.

    Args:
        model: On its device, fp32; products run in bf16 on CUDA.
        shards: Packed rows; consumed once, kept in memory for later epochs.
        settings: Budget and optimizer.
        report: Called with every point of the curve as it is reached.
        points: Number of points of the curve.
        loss: `loss(model, rows)`, in nats per token.
        count: Tokens of a batch as the budget counts them.

    Returns:
        The training curve.

    Raises:
        ValueError: If the loss stops being finite, or no shard fills a batch.
    """
    device = next(model.parameters()).device
    optimizer = _optimizer(model, settings, device)
    loss_of = torch.compile(loss) if settings.compile else loss

    def forward_backward(batch: dict[str, Any]) -> torch.Tensor:
        # Inside what is recorded as a graph: casts that autocast kept from before would never be made again.
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            batch_loss = loss_of(model, batch["rows"])
        torch.autograd.backward(batch_loss)
        return batch_loss.detach()

    step_of = GraphedBackward(model, forward_backward=forward_backward) if settings.cuda_graphs else forward_backward
    curve: list[CurvePoint] = []
    losses: list[torch.Tensor] = []
    tokens, step, start = 0, 0, time.monotonic()
    model.train()
    for rows in row_batches(shards, settings):
        spent = (time.monotonic() - start) / (60 * settings.minutes) if settings.minutes else 0.0
        progress = max(tokens / settings.tokens, spent)
        rate = settings.learning_rate * rate_factor(progress, settings.warmup)
        if losses and (progress >= 1 or len(curve) < points * progress):
            seconds = time.monotonic() - start
            mean = _finite_mean(losses, step)
            curve.append(CurvePoint(step=step, tokens=tokens, seconds=seconds, learning_rate=rate, loss=mean))
            losses = []
            report(curve[-1])
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        # Widened on the device: a quarter of the bytes are moved.
        narrow = torch.from_numpy(np.ascontiguousarray(rows).view(np.int16)).to(device, non_blocking=True)
        batch_loss = step_of({"rows": narrow.long() & 0xFFFF})
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(batch_loss)
        if step == 0:
            # Waiting for the first shard and compiling are no progress; the schedule must not skip the warm-up.
            start = time.monotonic()
        tokens, step = tokens + count(rows), step + 1
    return curve
