"""Each library's way to the top eigenvalues, the trace and the density of one case, with the products it took.

Every call starts from the model and the batch, so that building an operator counts. Of each library the fastest exact
product is used: ours and PyHessian's keep the gradient's graph, hessian-eigenthings builds it anew and cannot do else.
What a library does not offer is missing here; PyHessian's density calls a function that PyTorch removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import torch

from analysis import (
    HessianOperator,
    eigenvalues,
    pyhessian_eigenvalues,
    pyhessian_trace,
    spectral_density,
    trace,
)
from benchmarks.curvature.peer_cases import PeerCase
from benchmarks.environment import synchronize

OURS, PYHESSIAN, EIGENTHINGS = "ours", "pyhessian", "hessian-eigenthings"
#: Nodes and weights of one probe.
Measure = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Answer:
    """What a library found.

    Attributes:
        value: Eigenvalues, a trace, or the measures of a density.
        products: Matrix-vector products.
        seconds: Wall time.
    """

    value: Any
    products: int
    seconds: float


@dataclass(frozen=True)
class Route:
    """One library's way to one quantity.

    Attributes:
        library: Name on the package index, or "ours".
        settings: From cheap to exact; what they mean is the library's.
        setting_name: What it calls them.
        solve: `solve(case, setting, seed)` -> (value, products).
    """

    library: str
    settings: tuple[float, ...]
    setting_name: str
    solve: Callable[[PeerCase, float, int], tuple[Any, int]]

    def run(self, case: PeerCase, setting: float, seed: int, device: torch.device) -> Answer:
        """Solve once, on the clock."""
        synchronize(device)
        started = time.perf_counter()
        value, products = self.solve(case, setting, seed)
        synchronize(device)
        return Answer(value, products, time.perf_counter() - started)


def version(library: str) -> str | None:
    """Return a peer's version, or None if it is not installed."""
    module = library.replace("-", "_")
    return metadata.version(library) if util.find_spec(module) else None


def _operator(case: PeerCase) -> HessianOperator:
    return HessianOperator(case.objective, case.space, graph_budget_bytes=2**35)


def _eigenthings_operator(case: PeerCase) -> Any:
    from hessian_eigenthings.operators.hessian import HessianOperator as TheirOperator

    return TheirOperator(case.model, [case.batch], case.mean_loss)


def top_routes(count: int, *, iterations: int) -> list[Route]:
    """Return the ways to the `count` largest eigenvalues: algebraic, but for PyHessian, whose are by magnitude.

    Args:
        count: Eigenvalues.
        iterations: PyHessian's most iterations for each of them.
    """

    def ours(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        operator = _operator(case)
        with operator.space:
            found = eigenvalues(operator, top=count, bottom=0, tolerance=setting, seed=seed)
        return [pair.value for pair in found.top], found.products

    def theirs(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        found = pyhessian_eigenvalues(
            case.objective, case.space, count=count, tolerance=setting, max_iterations=iterations, seed=seed
        )
        # The residuals that our adapter adds are not part of their method.
        values = sorted((pair.value for pair in found.top + found.bottom), key=abs, reverse=True)
        return values, found.products - count

    def eigenthings(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        from hessian_eigenthings.algorithms.lanczos import lanczos

        found = lanczos(
            _eigenthings_operator(case), k=count, max_iter=int(setting), which="LA", reorthogonalize=True, seed=seed
        )
        return found.eigenvalues.tolist(), found.iterations

    return [
        Route(OURS, (3e-1, 1e-1, 5e-2, 3e-2, 1e-2, 3e-3, 1e-3), "tolerance", ours),
        Route(PYHESSIAN, (1e-3, 1e-4, 1e-5, 1e-6, 1e-7), "tol", theirs),
        Route(EIGENTHINGS, (10, 12, 15, 18, 22, 27, 33, 40, 60, 90), "max_iter", eigenthings),
    ]


def trace_routes(products: int) -> list[Route]:
    """Return the ways to the trace with a fixed number of products, each with the library's best estimator."""

    def ours(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        operator = _operator(case)
        with operator.space:
            found = trace(operator, tolerance=1e-9, max_products=int(setting), basis_size=int(setting) // 2, seed=seed)
        return found.value, found.products

    def theirs(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        found = pyhessian_trace(case.objective, case.space, max_products=int(setting), seed=seed)
        return found.value, found.products

    def eigenthings(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        from hessian_eigenthings.algorithms.trace import trace as their_trace

        found = their_trace(_eigenthings_operator(case), num_matvecs=int(setting), method="hutch++", seed=seed)
        return found.estimate, 3 * (int(setting) // 3)

    return [
        Route(library, (products,), "products", solve)
        for library, solve in ((OURS, ours), (PYHESSIAN, theirs), (EIGENTHINGS, eigenthings))
    ]


def density_routes(draws: int, steps: int) -> list[Route]:
    """Return the ways to the spectral density with a fixed number of probes and steps."""

    def ours(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        operator = _operator(case)
        with operator.space:
            found = spectral_density(operator, draws=draws, steps=int(setting), tolerance=1e-9, seed=seed)
        return list(zip(found.nodes, found.weights, strict=True)), found.products

    def eigenthings(case: PeerCase, setting: float, seed: int) -> tuple[Any, int]:
        from hessian_eigenthings.algorithms.spectral_density import spectral_density as their_density

        # Their seeds of one run after the other are consecutive.
        found = their_density(
            _eigenthings_operator(case), num_runs=draws, lanczos_steps=int(setting), seed=seed * draws
        )
        measures = list(zip(found.raw_eigenvalues.tolist(), found.raw_weights.tolist(), strict=True))
        return measures, draws * int(setting)

    return [Route(OURS, (steps,), "steps", ours), Route(EIGENTHINGS, (steps,), "steps", eigenthings)]
