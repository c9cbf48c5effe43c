"""Both ends of the spectrum of a model's decoder matrices: on one GPU, over several with copies, and sharded.

The data is the same each time. With copies, ranks share the micro-batches and sum their products; sharded, a rank holds
its rows of every matrix and vector (`analysis.shard_model`), which leaves room for larger micro-batches and for models
that one GPU cannot hold. Vectors are as narrow as the weights, and the ends take two of them and a product.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from analysis import FullSpace, HessianOperator, Objective, shard_model
from analysis.extremes import ThreeTermLanczos
from analysis.sharding import collecting, is_sharded, like, local
from benchmarks.curvature.shapes import decoder_weights
from benchmarks.environment import synchronize

if TYPE_CHECKING:
    from benchmarks.multi_gpu import Records, Setting

# With fewer seconds left no way is begun: none takes less on an 8B model.
_LEAST = 30.0
WAYS = ("replicated", "sharded")


def measure_curvature(
    setting: Setting,
    ways: Sequence[str],
    records: Records,
    *,
    rows: int,
    sharded_rows: int,
    max_products: int,
    tolerance: float,
) -> None:
    """Record both ends, each way; one rank has one way."""
    if distributed.get_world_size() == 1:
        ways = ["one"]
    for way in ways:
        micro = sharded_rows if way == "sharded" else setting.rows
        head = {"way": way, "shape": setting.shape, "layers": setting.layers, "data": f"{rows}x{setting.tokens}"}
        head["micro_batch"] = f"{micro}x{setting.tokens}"

        def work(way: str = way, micro: int = micro) -> dict[str, Any]:
            found = _ends(
                setting, way, rows=rows, micro=micro, max_products=max_products, tolerance=tolerance, say=records.say
            )
            reference = records.reference("curvature", way="one")
            if reference:
                # The same Krylov spaces, whether or not they were taken far enough to converge.
                after = min(found["products"], reference["products"])
                ours, theirs = (record["largest_by_product"][after - 1] for record in (found, reference))
                found |= {"compared_after": after, "relative_difference": abs(ours / theirs - 1.0)}
                found["product_time_ratio"] = found["product_s"] / reference["product_s"]
            return found

        records.attempt("curvature", head, work, seconds=_LEAST)
        gc.collect()
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()
        distributed.barrier()


def _ends(
    setting: Setting, way: str, *, rows: int, micro: int, max_products: int, tolerance: float, say: Any
) -> dict[str, Any]:
    model = setting.model.on(setting.device, setting.dtype, layers=setting.layers).eval()
    names = decoder_weights(model)
    if way == "sharded":
        held = dict(model.named_modules())
        shard_model(model, [held[name.removesuffix(".weight")] for name in names])
        gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setting.device)
    batch = setting.model.batch(rows, setting.tokens, torch.Generator().manual_seed(0))
    ids = batch["input_ids"].to(setting.device)
    batches = [{"input_ids": part, "labels": part} for part in torch.split(ids, micro)]
    space = FullSpace(model, parameters=names)
    return _lanczos(setting, Objective(model, batches), space, max_products, tolerance, say)


def _lanczos(
    setting: Setting, objective: Objective, space: FullSpace, max_products: int, tolerance: float, say: Any
) -> dict[str, Any]:
    operator = HessianOperator(objective, space, graph_budget_bytes=0, vector_dtype=setting.dtype)
    synchronize(setting.device)
    started = time.perf_counter()
    seconds, ends = [], []
    with space:
        lanczos = ThreeTermLanczos(operator, gradient_start(objective, space, setting.dtype))
        while True:
            synchronize(setting.device)
            before = time.perf_counter()
            lanczos.step()
            synchronize(setting.device)
            seconds.append(time.perf_counter() - before)
            low, high = lanczos.ends
            ends.append(high)
            say(f"  {lanczos.products} products, {low:.5g} {high:.5g}, residual {lanczos.relative_residual:.1e}")
            done = lanczos.products > 1 and lanczos.relative_residual <= tolerance
            if done or lanczos.products >= max_products or lanczos.exhausted:
                break
            lanczos.advance()
    found: dict[str, Any] = {
        "parameters": space.dimension,
        "largest": lanczos.ends[1],
        "smallest": lanczos.ends[0],
        "largest_by_product": ends,
        "largest_residual": lanczos.residuals[1] / lanczos.magnitude,
        "products": lanczos.products,
        "converged": bool(lanczos.relative_residual <= tolerance),
        "seconds": time.perf_counter() - started,
        "product_s": statistics.median(seconds[1:] or seconds),
    }
    if setting.device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(setting.device) / 1e9
    return found


def gradient_start(objective: Objective, space: FullSpace, dtype: torch.dtype) -> list[Tensor]:
    """Return the gradient, up to a factor, in the type of vectors: a good start that costs one gradient."""
    if is_sharded(space.tensors):
        start = [like(t, torch.zeros_like(local(t), dtype=dtype, requires_grad=False)) for t in space.tensors]
        with collecting(objective.model, space.tensors, start) as anchor:
            for index, weight in objective.passes():
                total, _ = objective.batch_loss(index)
                torch.autograd.grad(weight * total, [anchor], allow_unused=True)
        return start
    for index, _ in objective.passes():
        total, _ = objective.batch_loss(index)
        total.backward()  # type: ignore[no-untyped-call]
    start = []
    for tensor in space.tensors:
        assert tensor.grad is not None
        start.append(tensor.grad.to(dtype))
        tensor.grad = None
    objective.add_over_ranks(start, 0)
    return start
