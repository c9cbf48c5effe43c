"""What a step costs: every variant timed on every shape, beside PEFT's LoRA and the floor, as one record each.

On the CPU all variants take steps in turn, round after round, so that a machine that slows down slows all of them. On
a GPU one comes after the other, so that each has the memory to itself and its peak is its own. What fails, because it
does not fit or cannot be recorded, is an outcome, and the others are still measured.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import LoraConfig
from torch import nn

from benchmarks.errors import first_line
from benchmarks.step_record import FLOOR, STOCK_LORA, StepCost
from benchmarks.step_timing import (
    COMPILED,
    GRAPHED,
    STOCK,
    Batch,
    Step,
    blocks,
    floor_step,
    method_step,
    stock_step,
    time_steps,
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that is timed.

    Attributes:
        name: In the records.
        base: The model without adapters; every variant shares its weights.
        config: The primary adapter.
        batch: `batch(rows, tokens)` on the model's device.
        blocks: Classes of its repeated layers, where they are not marked as such.
    """

    name: str
    base: nn.Module
    config: LoraConfig
    batch: Callable[[int, int], Batch]
    blocks: tuple[str, ...] = ()


Variant = tuple[str, str]
Shape = tuple[int, int]


def variants(methods: Sequence[str], paths: Sequence[str], device: torch.device) -> list[Variant]:
    """Return what is timed: the references first, then every method on every path."""
    compiled = device.type == "cuda" or COMPILED in paths
    references = [(STOCK_LORA, STOCK), *([(STOCK_LORA, COMPILED)] if compiled else ())]
    floor = (FLOOR, COMPILED if compiled else STOCK)
    return [*references, floor, *((method, path) for path in paths for method in methods)]


def measure(
    subject: Subject,
    methods: Sequence[str],
    *,
    paths: Sequence[str],
    shapes: Sequence[Shape],
    rounds: int,
    warm_up: int,
    device: torch.device,
    show: Callable[[StepCost], None] = lambda _: None,
) -> list[StepCost]:
    """Time every variant on every shape.

    Args:
        subject: The model.
        methods: Names of methods.
        paths: Paths to time them on.
        shapes: Batch size and tokens of a row.
        rounds: Timed rounds, a multiple of `BLOCK`.
        warm_up: Rounds before them.
        device: Where the model is.
        show: Called with each record as soon as its times are known, ratios to later variants missing.
    """
    steps = rounds + warm_up
    chosen = variants(methods, paths, device)
    together = [chosen] if device.type == "cpu" else [[variant] for variant in chosen]
    seconds: dict[tuple[Variant, Shape], list[float]] = {}
    records: dict[tuple[Variant, Shape], dict[str, Any]] = {}
    for group in together:
        for variant, shape, timed, found in _time_group(
            subject, group, shapes, rounds=rounds, warm_up=warm_up, device=device, steps=steps
        ):
            if timed:
                seconds[variant, shape] = blocks(timed)
            records[variant, shape] = found | _ratios(seconds, variant, shape)
            show(_record(subject, variant, shape, records[variant, shape], rounds))
        _release(device)
    for variant, shape in records:
        records[variant, shape] |= _ratios(seconds, variant, shape)
    return [_record(subject, variant, shape, found, rounds) for (variant, shape), found in records.items()]


def _time_group(
    subject: Subject,
    group: Sequence[Variant],
    shapes: Sequence[Shape],
    *,
    rounds: int,
    warm_up: int,
    device: torch.device,
    steps: int,
) -> Iterator[tuple[Variant, Shape, list[float], dict[str, Any]]]:
    """Yield the seconds of every round, and what else is known, for every variant and shape of a group."""
    made: dict[Variant, Step] = {}
    failed: dict[str, str] = {}
    for variant in group:
        try:
            made[variant] = _step(subject, *variant, steps=steps)
        except RuntimeError as error:
            failed[str(variant)] = first_line(error)
    for shape in shapes:
        batch = subject.batch(*shape)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        failures = dict(failed)
        taken = {str(variant): partial(step, batch) for variant, step in made.items()}
        first = time_steps(taken, rounds=1, warm_up=0, device=device, failures=failures)
        taken = {name: step for name, step in taken.items() if name in first}
        timed = time_steps(taken, rounds=rounds, warm_up=warm_up, device=device, failures=failures)
        for variant in group:
            name = str(variant)
            if name in failures:
                yield variant, shape, [], {"error": failures[name]}
                continue
            low, middle, high = (1e3 * value for value in statistics.quantiles(blocks(timed[name]), n=4))
            yield (
                variant,
                shape,
                timed[name],
                {
                    "step_ms": middle,
                    "step_ms_low": low,
                    "step_ms_high": high,
                    "first_ms": 1e3 * first[name][0],
                    "tokens_per_second": 1e3 * math.prod(shape) / middle,
                    "peak_gb": torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
                },
            )


def _step(subject: Subject, method: str, path: str, *, steps: int) -> Step:
    compiled = path in (COMPILED, GRAPHED)
    if method == STOCK_LORA:
        return stock_step(subject.base, subject.config, compiled=compiled)
    if method == FLOOR:
        return floor_step(subject.base, blocks=subject.blocks, compiled=compiled)
    return method_step(subject.base, subject.config, method=method, path=path, steps=steps)


def _release(device: torch.device) -> None:
    """Give back what a variant held, compiled code included, of which PyTorch keeps a few for each function."""
    gc.collect()
    if device.type == "cuda":
        torch._dynamo.reset()
        torch.cuda.empty_cache()


def _ratios(
    seconds: dict[tuple[Variant, Shape], list[float]], variant: Variant, shape: Shape
) -> dict[str, float | None]:
    def ratio(*references: Variant) -> float | None:
        for reference in references:
            if (variant, shape) in seconds and (reference, shape) in seconds:
                pairs = zip(seconds[variant, shape], seconds[reference, shape], strict=True)
                return statistics.median(a / b for a, b in pairs)
        return None

    return {
        "ratio_to_stock_lora": ratio((STOCK_LORA, STOCK)),
        "ratio_to_compiled_lora": ratio((STOCK_LORA, COMPILED)),
        "ratio_to_our_lora": ratio(("lora", variant[1])) if variant[0] not in (STOCK_LORA, FLOOR) else None,
        "ratio_to_floor": ratio((FLOOR, COMPILED), (FLOOR, STOCK)),
    }


def _record(subject: Subject, variant: Variant, shape: Shape, found: dict[str, Any], rounds: int) -> StepCost:
    method, path = variant
    rows, tokens = shape
    return StepCost(
        model=subject.name,
        shape=f"{rows}x{tokens}",
        method=method,
        path=path,
        rounds=rounds if "error" not in found else 0,
        **found,
    )
