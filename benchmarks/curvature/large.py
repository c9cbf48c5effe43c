"""`python -m benchmarks.curvature large`: gradient, products and both ends of the spectrum of an 8B model on one GPU.

The model has the shape of Llama 3.1 8B (any other by flags) and random bfloat16 weights; the space is all linear
weights of its decoder layers, seven billion entries. Vectors are bfloat16, and the ends of the spectrum take two of
them. A tiny shape runs the same code on a CPU in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks import parsing
from benchmarks.curvature.accuracy import measure_accuracy
from benchmarks.curvature.options import add_shape_flags, read_shape
from benchmarks.curvature.products import (
    COMPILED,
    COMPILED_FLOAT32,
    GAUSS_NEWTON,
    GAUSS_NEWTON_COMPILED,
    Workload,
    measure_ends,
    measure_gradient,
    measure_product,
    workload,
)
from benchmarks.curvature.records import RecordFile
from benchmarks.curvature.shapes import LlamaShape, random_llama, token_batches
from benchmarks.errors import UsageError, nearest
from benchmarks.flags import add_common_flags, each, read_device, read_flags, read_out
from benchmarks.one_line_parser import OneLineParser

CASES = ("products", "ends", "ends-float32", "checkpointed", "checkpointed-ends", "accuracy")
ROUTES = ("reverse", "forward", COMPILED, COMPILED_FLOAT32, GAUSS_NEWTON, GAUSS_NEWTON_COMPILED)


@dataclass(frozen=True, kw_only=True)
class LargeSettings:
    """What is measured; the flags of the command."""

    cases: tuple[str, ...]
    rows: int
    tokens: int
    micro_rows: tuple[int, ...]
    long_rows: int
    long_tokens: int
    tolerances: tuple[float, ...]
    routes: tuple[str, ...]
    max_products: int
    repeats: int
    limit_gb: float


def measure(shape: LlamaShape, settings: LargeSettings, file: RecordFile) -> None:
    """Run the cases that were asked for, writing a record for each quantity."""
    model = random_llama(shape, device=file.device, dtype=torch.bfloat16)
    if "products" in settings.cases or "ends" in settings.cases:
        _short_rows(model, shape, settings, file)
    if "ends-float32" in settings.cases:
        _float32_ends(model, shape, settings, file)
    if {"checkpointed", "checkpointed-ends"} & set(settings.cases):
        _checkpointed(model, shape, settings, file)
    del model
    if "accuracy" in settings.cases:
        shallow = replace(shape, layers=min(shape.layers, 2))
        model = random_llama(shallow, device=file.device, dtype=torch.bfloat16)
        micro = min(settings.micro_rows)
        batches = token_batches(shape, rows=4 * micro, tokens=settings.tokens, micro_rows=micro, device=file.device)
        case = f"{shallow.layers} layers of width {shape.hidden}"
        measure_accuracy(model, batches, file, case=case, basis_size=8)


def _short_rows(model: torch.nn.Module, shape: LlamaShape, settings: LargeSettings, file: RecordFile) -> None:
    """Time gradient and products for every micro-batch size, then the spectrum with the fastest that fits."""
    case = f"llama {shape.layers}x{shape.hidden}, {settings.rows}x{settings.tokens} tokens"
    limit = settings.limit_gb
    fastest: tuple[float, Workload, str, float | None] | None = None
    for micro in settings.micro_rows:
        # Each size is compiled for itself; a second one would otherwise be compiled for any.
        torch._dynamo.reset()
        batches = token_batches(shape, rows=settings.rows, tokens=settings.tokens, micro_rows=micro, device=file.device)
        work = workload(model, batches, case=case, dtype=torch.bfloat16)
        gradient = measure_gradient(work, file, repeats=settings.repeats)
        if COMPILED in settings.routes:
            measure_gradient(work, file, repeats=settings.repeats, compiled=True)
        for route in settings.routes:
            found = measure_product(
                work, file, route, repeats=settings.repeats, gradient_seconds=gradient, limit_gb=limit
            )
            if route not in ("reverse", "forward", COMPILED) or found.seconds is None or not found.within(limit):
                continue
            if fastest is None or found.seconds < fastest[0]:
                fastest = (found.seconds, work, route, gradient)
    if "ends" not in settings.cases or fastest is None:
        return
    _, work, route, gradient = fastest
    measure_ends(
        work,
        file,
        route,
        tolerances=settings.tolerances,
        max_products=settings.max_products,
        gradient_seconds=gradient,
        limit_gb=limit,
    )


def _float32_ends(model: torch.nn.Module, shape: LlamaShape, settings: LargeSettings, file: RecordFile) -> None:
    """Measure the spectrum with products computed in float32 from the same weights, at the smallest micro-batch."""
    torch._dynamo.reset()
    micro = min(settings.micro_rows)
    batches = token_batches(shape, rows=settings.rows, tokens=settings.tokens, micro_rows=micro, device=file.device)
    case = f"llama {shape.layers}x{shape.hidden}, {settings.rows}x{settings.tokens} tokens, computed in float32"
    work = workload(model, batches, case=case, dtype=torch.bfloat16)
    gradient = measure_gradient(work, file, repeats=1)
    options: dict[str, Any] = {"gradient_seconds": gradient, "limit_gb": settings.limit_gb}
    measure_product(work, file, COMPILED_FLOAT32, repeats=1, **options)
    measure_ends(
        work,
        file,
        COMPILED_FLOAT32,
        tolerances=settings.tolerances,
        max_products=settings.max_products,
        **options,
    )


def _checkpointed(model: torch.nn.Module, shape: LlamaShape, settings: LargeSettings, file: RecordFile) -> None:
    """Measure long rows with activation checkpointing, with the largest micro-batch that fits."""
    switch: Any = model
    name = "activation_checkpointing_enable"
    getattr(switch, name if hasattr(switch, name) else "gradient_checkpointing_enable")()
    case = f"llama {shape.layers}x{shape.hidden}, {settings.long_rows}x{settings.long_tokens} tokens, checkpointed"
    micro = settings.long_rows
    while True:
        batches = token_batches(
            shape, rows=settings.long_rows, tokens=settings.long_tokens, micro_rows=micro, device=file.device
        )
        work = workload(model, batches, case=case, dtype=torch.bfloat16)
        gradient = measure_gradient(work, file, repeats=1)
        options: dict[str, Any] = {"gradient_seconds": gradient, "limit_gb": settings.limit_gb}
        found = measure_product(work, file, "forward", repeats=1, **options)
        if found.within(settings.limit_gb):
            break
        if micro == 1:
            return
        micro //= 2
    for route in (COMPILED, GAUSS_NEWTON):
        measure_product(work, file, route, repeats=1, **options)
    if "checkpointed-ends" not in settings.cases:
        return
    measure_ends(
        work,
        file,
        COMPILED,
        tolerances=[max(settings.tolerances)],
        max_products=settings.max_products,
        **options,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.curvature large", description=__doc__.split("\n\n")[1])
    add_shape_flags(parser, LlamaShape())
    add_common_flags(parser)
    positive, whole = parsing.number(minimum=0, exclusive=True), parsing.integer(minimum=1)
    readers: dict[str, tuple[str, parsing.Reader, str]] = {
        "cases": (",".join(CASES), parsing.names, "what to measure"),
        "routes": (",".join(ROUTES), parsing.names, "products that are timed"),
        "rows": ("32", whole, "rows of the data"),
        "tokens": ("256", parsing.integer(minimum=2), "tokens of each row"),
        "micro_rows": ("4,8", each(whole), "rows of a forward pass; the fastest that fits takes the spectrum"),
        "long_rows": ("4", whole, "rows of the checkpointed case"),
        "long_tokens": ("1024", parsing.integer(minimum=2), "tokens of each of them"),
        "tolerances": ("1e-2,1e-3", each(positive), "relative residuals of the eigenvalues"),
        "max_products": ("80", whole, "products of a spectrum at most"),
        "repeats": ("2", whole, "timed gradients and products, after one that is not"),
        "limit_gb": ("75", positive, "memory that a case may take to be used for the spectrum"),
    }
    for flag, (default, _, help_text) in readers.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", default=default, help=f"{help_text} (default: {default})")
    try:
        options = parser.parse_args(arguments)
        values = read_flags(options, {flag: reader for flag, (_, reader, _) in readers.items()})
        for case in values["cases"]:
            if case not in CASES:
                raise UsageError(f"--cases: unknown case {case!r}{nearest(case, CASES)}; known: {', '.join(CASES)}")
        for route in values["routes"]:
            if route not in ROUTES:
                near = nearest(route, ROUTES)
                raise UsageError(f"--routes: unknown route {route!r}{near}; known: {', '.join(ROUTES)}")
        shape, device = read_shape(options), read_device(options)
        file = RecordFile(read_out(options), device)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    measure(shape, LargeSettings(**values), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
