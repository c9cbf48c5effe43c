"""The trace of a symmetric operator from random products, with a standard error, stopped at a tolerance.

Hutchinson's estimator (1990) needs no memory and gains one digit per hundredfold products. Where vectors can be
kept, XTrace (Epperly, Tropp and Webber, 2024) takes the few large eigenvalues out of the variance, and Hutch++
(Meyer et al., 2021) goes on from its sketch with fresh samples once the memory is full. In a subspace the random
vectors are those of the subspace and n is its dimension. Ours, since the libraries that have these are for JAX
(traceax) or bring torchvision along (curvlinops).
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from analysis.basis_storage import StorageName, check_storage
from analysis.errors import AnalysisError, SettingsError, nearest
from analysis.operators import CurvatureOperator
from analysis.progress import Progress, silent
from analysis.standard_error import mean_and_error, t_quantile
from analysis.trace_sketch import TraceSketch

Method = Literal["auto", "xtrace", "hutch++", "hutchinson"]

# Fewer samples give a standard error that is itself too uncertain to stop on.
_LEAST_SAMPLES = 8


@dataclass(frozen=True)
class Trace:
    """An estimate of tr(M).

    Attributes:
        value: The estimate.
        standard_error: Of `value`, over the samples; 0 if the sketch spans the operator's range.
        low: Lower end of the 95 % interval, by Student's t.
        high: Upper end.
        method: What gave the samples: "xtrace", "hutch++", "hutchinson", or "xtrace and hutch++".
        samples: Estimates averaged.
        products: Matrix-vector products taken.
        converged: Whether the standard error is at most tolerance |value|.
        tolerance: Relative standard error asked for.
        max_products: Most products allowed.
        basis_size: Most vectors kept.
        dimension: n; value / n is the mean eigenvalue.
        seconds: Wall time.
        seed: Seed of the random vectors.
    """

    value: float
    standard_error: float
    low: float
    high: float
    method: str
    samples: int
    products: int
    converged: bool
    tolerance: float
    max_products: int
    basis_size: int
    dimension: int
    seconds: float
    seed: int


def trace(
    operator: CurvatureOperator,
    *,
    method: Method = "auto",
    tolerance: float = 0.02,
    max_products: int = 200,
    basis_size: int = 32,
    basis_storage: StorageName = "device",
    basis_dtype: torch.dtype | None = None,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Trace:
    """Return the trace of a symmetric operator with its standard error.

    Args:
        operator: Symmetric; its random directions are standard normal vectors of its domain. The products it
            returns are overwritten.
        method: "hutchinson" keeps no vector; "xtrace" keeps up to `basis_size`; "hutch++" builds its sketch from
            a third of the products, then samples; "auto" is XTrace while a larger basis pays (the variance falls by
            half whenever it doubles, which it does not in a flat spectrum) and has room, then adds samples of
            Hutch++ on its sketch, at one product instead of two; Hutchinson where fewer than eight vectors may be
            kept.
        tolerance: Standard error to stop at, relative to |trace|.
        max_products: Stop after this many products even if the tolerance is not reached; at least 16.
        basis_size: Vectors that may be kept; each is as large as the space.
        basis_storage: "device" or "host", see `eigenvalues`.
        basis_dtype: None or torch.bfloat16, see `eigenvalues`.
        seed: Seed of the random vectors.
        on_progress: Called after each sample.

    Raises:
        SettingsError: A setting is out of range, or the operator is not symmetric.
        AnalysisError: A product is not finite.
    """
    _check(operator, method, tolerance=tolerance, max_products=max_products, basis_size=basis_size)
    check_storage(basis_storage, basis_dtype)
    started = time.perf_counter()
    capacity = _capacity(method, max_products, basis_size, operator.dimension)
    sketch = TraceSketch(operator, capacity, seed=seed, storage=basis_storage, dtype=basis_dtype)
    run = _Run(sketch, tolerance, max_products, on_progress)
    run.sketch(capacity, with_estimates=method in ("auto", "xtrace"), while_it_pays=method == "auto")
    used = ["xtrace"] * (method != "hutch++" and bool(run.samples))
    if method != "xtrace":
        used += ["hutch++" if sketch.size else "hutchinson"] * run.probe()
    value, error = mean_and_error(run.samples)
    margin = t_quantile(len(run.samples) - 1) * error if error else 0.0
    return Trace(
        value=value,
        standard_error=error,
        low=value - margin,
        high=value + margin,
        method=" and ".join(used) or "hutch++",
        samples=len(run.samples),
        products=sketch.products,
        converged=error <= tolerance * abs(value),
        tolerance=tolerance,
        max_products=max_products,
        basis_size=basis_size,
        dimension=operator.dimension,
        seconds=time.perf_counter() - started,
        seed=seed,
    )


class _Run:
    """Collects samples until their standard error is small enough or the products are spent.

    Leave-one-out estimates and later probes are alike: unbiased, of nearly equal variance, and uncorrelated with
    each other, since a probe is new given the sketch. So they are simply averaged.
    """

    def __init__(self, sketch: TraceSketch, tolerance: float, max_products: int, on_progress: Progress) -> None:
        self.samples: list[float] = []
        self._sketch = sketch
        self._tolerance = tolerance
        self._max_products = max_products
        self._on_progress = on_progress

    def sketch(self, capacity: int, *, with_estimates: bool, while_it_pays: bool) -> None:
        """Grow the sketch; with estimates, look whether they agree each time it has doubled.

        A look draws all test vectors anew, which is not free beside the products of a small model. A sample of the
        sketch takes two products and a probe one: growing pays while it halves the variance of all samples.
        """
        look, pays, spread = _LEAST_SAMPLES, True, math.inf
        while self._sketch.size < capacity and pays and not self._done():
            self._sketch.grow()
            if self._sketch.captured:
                self.samples = [self._sketch.trace_on_span()]
            elif with_estimates and self._sketch.size in (look, capacity):
                look *= 2
                self.samples = self._sketch.estimates().tolist()
                before = spread if math.isfinite(spread) else statistics.variance(self._sketch.quadratic_forms)
                spread = statistics.variance(self.samples)
                pays = not while_it_pays or spread <= before / 2
            self._report()

    def probe(self) -> bool:
        """Sample what the sketch leaves, and return whether that was necessary."""
        index = 0
        while self._sketch.products < self._max_products and not self._done():
            self.samples.append(self._sketch.probe(index))
            index += 1
            self._report()
        return index > 0

    def _done(self) -> bool:
        """Return whether enough samples agree, or one is exact."""
        if self._sketch.captured:
            return True
        value, error = mean_and_error(self.samples)
        return len(self.samples) >= _LEAST_SAMPLES and error <= self._tolerance * abs(value)

    def _report(self) -> None:
        value, error = mean_and_error(self.samples)
        if not math.isfinite(value + self._sketch.trace_on_span()):
            raise AnalysisError("a curvature product is not finite; check the weights, or use a wider type")
        note = f"{self._sketch.products} products"
        if error:
            note = f"{note}, trace {value:.4g} +- {error:.1g}"
        spent = self._sketch.products / self._max_products
        # The squared error falls with the samples.
        way = (self._tolerance * value / error) ** 2 if error else 0.0
        self._on_progress(1.0 if self._done() else min(max(spent, way), 1.0), note)


def _capacity(method: Method, max_products: int, basis_size: int, dimension: int) -> int:
    """Return how many columns the sketch may have."""
    if method == "hutchinson" or (method == "auto" and basis_size < min(_LEAST_SAMPLES, dimension)):
        return 0
    return min(max_products // (3 if method == "hutch++" else 2), basis_size, dimension)


def _check(operator: CurvatureOperator, method: str, *, tolerance: float, max_products: int, basis_size: int) -> None:
    if method not in get_args(Method):
        known = get_args(Method)
        raise SettingsError(f"method is {method!r}; expected one of {', '.join(known)}{nearest(method, known)}")
    if not operator.symmetric:
        raise SettingsError("the operator is not symmetric; these estimators need a symmetric one")
    if not tolerance > 0:
        raise SettingsError(f"tolerance is {tolerance}; expected a positive relative standard error such as 0.02")
    if max_products < 2 * _LEAST_SAMPLES:
        raise SettingsError(f"max_products is {max_products}; expected at least {2 * _LEAST_SAMPLES}")
    least = {"xtrace": _LEAST_SAMPLES, "hutch++": 1}.get(method, 0)
    if basis_size < min(least, operator.dimension):
        raise SettingsError(f"basis_size is {basis_size}; method={method!r} needs at least {least} vectors")
