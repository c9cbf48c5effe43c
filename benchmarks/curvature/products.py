"""Measuring one gradient, one product by each route, and the ends of the spectrum, for a model on some data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from analysis import FullSpace, GaussNewtonOperator, HessianOperator, Objective
from analysis.extremes import ThreeTermLanczos
from analysis.modes import repeated_layers
from analysis.operators import SpaceOperator, compiled_layers
from analysis.operators.duals import quiet_tracing
from benchmarks.curvature.records import CurvatureRecord, Peak, RecordFile, median_seconds, timed
from benchmarks.curvature.shapes import decoder_weights

GAUSS_NEWTON = "gauss-newton"
COMPILED = "compiled"
COMPILED_FLOAT32 = "compiled-float32"
GAUSS_NEWTON_COMPILED = "gauss-newton-compiled"
_COMPILED = (COMPILED, COMPILED_FLOAT32, GAUSS_NEWTON_COMPILED)


@dataclass(frozen=True)
class Workload:
    """A model, the matrices that are measured, and the data.

    Attributes:
        case: Name in the records.
        objective: Mean loss over the micro-batches.
        space: The linear weights of the decoder layers.
        dtype: Type of vectors; None for that of the weights, but at least float32.
        micro_batch: Rows x tokens of one forward pass.
        operators: Those made so far, by route; a compiled one is compiled once.
        compile_seconds: By how much the first product of a compiled route took longer than the others.
    """

    case: str
    objective: Objective
    space: FullSpace
    dtype: torch.dtype | None
    micro_batch: str
    operators: dict[str, SpaceOperator] = field(default_factory=dict)
    compile_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Counted tokens: all but the first of each row."""
        return sum(batch["labels"][:, 1:].numel() for batch in self.objective.batches)

    def record(self, file: RecordFile, **fields: Any) -> CurvatureRecord:
        """Return a record of this workload."""
        return CurvatureRecord(
            case=self.case,
            device=file.name,
            parameters=self.space.dimension,
            tokens=self.tokens,
            micro_batch=self.micro_batch,
            **fields,
        )

    def operator(self, route: str) -> SpaceOperator:
        """Return the operator of a route; no graph is kept, as none would fit beside a large model."""
        if route not in self.operators:
            compiled = route in _COMPILED
            self.operators[route] = (
                GaussNewtonOperator(self.objective, self.space, vector_dtype=self.dtype, compile_layers=compiled)
                if route in (GAUSS_NEWTON, GAUSS_NEWTON_COMPILED)
                else HessianOperator(
                    self.objective,
                    self.space,
                    route="forward" if compiled else route,
                    graph_budget_bytes=0,
                    vector_dtype=self.dtype,
                    compile_layers=compiled,
                    compute_dtype=torch.float32 if route == COMPILED_FLOAT32 else None,
                )
            )
        return self.operators[route]


def workload(
    model: nn.Module, batches: Sequence[dict[str, Tensor]], *, case: str, dtype: torch.dtype | None
) -> Workload:
    """Return the workload of a model's decoder matrices on some micro-batches."""
    rows, tokens = batches[0]["input_ids"].shape
    space = FullSpace(model, parameters=decoder_weights(model))
    return Workload(case, Objective(model, batches), space, dtype, f"{rows}x{tokens}")


def measure_gradient(work: Workload, file: RecordFile, *, repeats: int, compiled: bool = False) -> float | None:
    """Record the time of one gradient as training takes it: backward into `.grad`, micro-batch by micro-batch.

    Args:
        work: The model and data.
        file: Where the record goes.
        repeats: Timed calls.
        compiled: Whether the layers are compiled, by PyTorch's own means.

    Returns:
        Seconds, or None where there was too little memory.
    """
    layers: list[Any] = repeated_layers(work.objective.model) if compiled else []

    @quiet_tracing()
    def backward() -> None:
        for index in range(len(work.objective.batches)):
            total, _ = work.objective.batch_loss(index)
            total.backward()  # type: ignore[no-untyped-call]

    def run() -> dict[str, Any]:
        with work.space:
            for layer in layers:
                layer.compile(backend=compiled_layers.BACKEND)
            try:
                return {"seconds": median_seconds(backward, device=file.device, repeats=repeats)}
            finally:
                for layer in layers:
                    layer._compiled_call_impl = None
                for tensor in work.space.tensors:
                    tensor.grad = None

    return file.attempt(work.record(file, quantity="gradient", route=COMPILED if compiled else None), run).seconds


def measure_product(
    work: Workload, file: RecordFile, route: str, *, repeats: int, gradient_seconds: float | None, limit_gb: float
) -> CurvatureRecord:
    """Record the time and memory of one product along a random direction."""

    def run() -> dict[str, Any]:
        with work.space:
            operator = work.operator(route)
            direction = operator.random_direction(seed=0, stream="benchmark")
            first, *others = timed(lambda: operator.matvec(direction), device=file.device, repeats=repeats)
            found: dict[str, Any] = {"seconds": statistics.median(others), "products": 1}
            if route in _COMPILED:
                work.compile_seconds[route] = first - found["seconds"]
                found["note"] = f"the first product took {work.compile_seconds[route]:.1f} s longer, for compiling"
            return found

    quantity = GAUSS_NEWTON if route in (GAUSS_NEWTON, GAUSS_NEWTON_COMPILED) else "product"
    shown = work.record(file, quantity=quantity, route=route, gradient_seconds=gradient_seconds)
    return file.attempt(shown, run, limit_gb=limit_gb)


def measure_ends(
    work: Workload,
    file: RecordFile,
    route: str,
    *,
    tolerances: Sequence[float],
    max_products: int,
    gradient_seconds: float | None,
    limit_gb: float,
) -> None:
    """Record the largest and the smallest eigenvalue at each relative residual, from one run of three-term Lanczos.

    It starts from the gradient, whose time is counted, and so is that of compiling.
    """
    compiling = work.compile_seconds.get(route, 0.0)
    extra = f", {compiling:.0f} s of compiling included" if compiling else ""
    shown = work.record(file, quantity="largest", route=route, gradient_seconds=gradient_seconds)

    def run() -> dict[str, Any]:
        waiting = sorted(tolerances, reverse=True)
        peak, started = Peak(file.device), time.perf_counter()
        with work.space:
            lanczos = ThreeTermLanczos(work.operator(route), _gradient_start(work))
            while waiting and lanczos.products < max_products:
                lanczos.step()
                seconds, residual = time.perf_counter() - started + compiling, lanczos.relative_residual
                low, high = lanczos.ends
                print(
                    f"  {lanczos.products} products, {seconds:.0f} s, {low:.4g} {high:.4g}, {residual:.1e}", flush=True
                )
                while waiting and lanczos.products > 1 and residual <= waiting[0]:
                    note = f"tolerance {waiting.pop(0):g}, three-term Lanczos in two vectors from the gradient{extra}"
                    for quantity, value, error in zip(
                        ("smallest", "largest"), lanczos.ends, lanczos.residuals, strict=True
                    ):
                        found: dict[str, Any] = {
                            "seconds": seconds,
                            "products": lanczos.products,
                            "value": value,
                            "converged": True,
                        }
                        relative = error / lanczos.magnitude
                        file.add(
                            replace(
                                shown,
                                quantity=quantity,
                                relative_error=relative,
                                peak_gb=peak.gigabytes(),
                                note=note,
                                **found,
                            )
                        )
                lanczos.advance()
        return {"seconds": time.perf_counter() - started + compiling, "products": lanczos.products}

    file.attempt(replace(shown, quantity="both ends", note="the whole run"), run, limit_gb=limit_gb)


def _gradient_start(work: Workload) -> list[Tensor]:
    """Return the gradient in the type of vectors, accumulated in the weights' own type as training does."""
    for index in range(len(work.objective.batches)):
        total, _ = work.objective.batch_loss(index)
        total.backward()  # type: ignore[no-untyped-call]
    gradient = []
    for tensor in work.space.tensors:
        assert tensor.grad is not None
        gradient.append(tensor.grad.to(work.dtype or torch.promote_types(tensor.dtype, torch.float32)))
        tensor.grad = None
    return gradient
