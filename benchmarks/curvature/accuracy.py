"""What narrow arithmetic does to products and eigenvalues, on a model shallow enough for a float32 copy beside it.

The same weights, the same direction and the same tokens, once with bfloat16 weights and once with float32 ones. Sums
over micro-batches are taken in bfloat16, as an eight-billion-parameter vector has to be, and in float32, which
tells the error of the sums from that of the model's own arithmetic.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from analysis import eigenvalues, vectors
from benchmarks.curvature.products import COMPILED, COMPILED_FLOAT32, Workload, workload
from benchmarks.curvature.records import RecordFile

REVERSE = "reverse"


def measure_accuracy(
    model: nn.Module, batches: list[dict[str, Tensor]], file: RecordFile, *, case: str, basis_size: int
) -> None:
    """Record the relative errors of one product and of both ends of the spectrum in bfloat16.

    Args:
        model: With bfloat16 weights.
        batches: Micro-batches.
        file: Where the records go.
        case: Name in the records.
        basis_size: Basis vectors of the eigenvalue runs.
    """
    exact = workload(copy.deepcopy(model).float(), batches, case=case, dtype=None)
    narrow = workload(model, batches, case=case, dtype=torch.bfloat16)
    wide_sums = workload(model, batches, case=case, dtype=None)
    with narrow.space:
        direction = narrow.operator(REVERSE).random_direction(seed=0, stream="accuracy")
    expected = _product(exact, direction, REVERSE)
    ends = _ends(exact, basis_size, REVERSE)
    for work, sums, route in (
        (narrow, "bfloat16", COMPILED),
        (narrow, "bfloat16", COMPILED_FLOAT32),
        (narrow, "bfloat16", REVERSE),
        (wide_sums, "float32", REVERSE),
    ):
        found = _product(work, direction, route)
        error = vectors.norm(vectors.axpy(-1.0, expected, found)) / vectors.norm(expected)
        cosine = vectors.dot(found, expected) / (vectors.norm(found) * vectors.norm(expected))
        note = f"bfloat16 weights, sums in {sums}, against float32; cosine {cosine:.6f}"
        file.add(work.record(file, quantity="product", route=route, relative_error=error, note=note))
        found_ends = _ends(work, basis_size, route)
        for quantity, value, reference in zip(("largest", "smallest"), found_ends, ends, strict=True):
            error = abs(value - reference) / abs(reference)
            note = f"bfloat16 weights, sums in {sums}, against {reference:.6g} in float32"
            file.add(work.record(file, quantity=quantity, route=route, value=value, relative_error=error, note=note))


def _product(work: Workload, direction: vectors.Vector, route: str) -> vectors.Vector:
    """Return one product as float32."""
    with work.space:
        typed = direction if work.dtype is not None else [block.float() for block in direction]
        return [block.float() for block in work.operator(route).matvec(typed)]


def _ends(work: Workload, basis_size: int, route: str) -> tuple[float, float]:
    """Return the largest and the smallest eigenvalue."""
    with work.space:
        found = eigenvalues(
            work.operator(route), top=1, bottom=1, tolerance=1e-3, max_products=60, basis_size=basis_size
        )
    return found.top[0].value, found.bottom[0].value
