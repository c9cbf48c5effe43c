"""References that no compared run has a part in: eigenvalues in float64, a trace and a density from many more products.

The eigenvalues are ours at a relative residual of 1e-5 on a float64 copy of the model. Where a space is small enough
for its vectors on the host, the note says how far those of SciPy's `eigsh` lie from them. A trace and a density have
no exact reference at this size; theirs carry a standard error that the records state.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from analysis import HessianOperator, SpectralDensity, Trace, eigenvalues, spectral_density, to_scipy, trace
from analysis.krylov import Floats
from analysis.smoothing import smooth
from benchmarks.curvature.peer_cases import PeerCase
from benchmarks.curvature.peer_routes import Measure

# Above this many directions SciPy's twenty vectors on the host and its single thread take too long.
_SCIPY_LIMIT = 5_000_000


@dataclass(frozen=True)
class TopReference:
    """The largest eigenvalues.

    Attributes:
        algebraic: Largest first.
        magnitudes: Those of largest magnitude, largest first, with their signs.
        note: How well they are known.
    """

    algebraic: tuple[float, ...]
    magnitudes: tuple[float, ...]
    note: str


def top_reference(case: PeerCase, count: int) -> TopReference:
    """Return the `count` largest eigenvalues, algebraically and by magnitude."""
    exact = replace(case, model=copy.deepcopy(case.model).double())
    operator = HessianOperator(exact.objective, exact.space, graph_budget_bytes=2**35)
    with operator.space:
        found = eigenvalues(operator, top=count, bottom=1, tolerance=1e-5, max_products=400, basis_size=40)
        if -found.bottom[0].value > found.top[-1].value:
            # Negative ones are among the largest by magnitude, which a trained model seldom has.
            found = eigenvalues(operator, top=count, bottom=count, tolerance=1e-5, max_products=400, basis_size=40)
        top = tuple(pair.value for pair in found.top)
        both = sorted([*top, *(pair.value for pair in found.bottom)], key=abs, reverse=True)[:count]
        worst = max(pair.relative_residual for pair in found.top + found.bottom)
        note = f"reference: float64, relative residual {worst:.1e}"
        if operator.dimension <= _SCIPY_LIMIT:
            from scipy.sparse.linalg import eigsh

            theirs = np.sort(eigsh(to_scipy(operator), k=count, which="LA", tol=1e-6, return_eigenvectors=False))[::-1]
            note += f", SciPy within {np.abs(theirs / np.array(top) - 1.0).max():.1e}"
    return TopReference(top, tuple(both), note)


def trace_reference(case: PeerCase, products: int) -> Trace:
    """Return the trace from many products; its standard error says how well it is known."""
    operator = HessianOperator(case.objective, case.space, graph_budget_bytes=2**35)
    with operator.space:
        return trace(operator, tolerance=1e-3, max_products=products, basis_size=min(64, products // 4), seed=10**6)


def density_reference(case: PeerCase, draws: int, steps: int) -> SpectralDensity:
    """Return the density from many probes of many steps."""
    operator = HessianOperator(case.objective, case.space, graph_budget_bytes=2**35)
    with operator.space:
        return spectral_density(operator, draws=draws, steps=steps, tolerance=1e-3, seed=10**6)


def density_error(measures: list[Measure], reference: SpectralDensity) -> float:
    """Return the largest distance of the cumulative densities, both smoothed with the reference's kernel."""
    grid = np.array(reference.grid)
    found: list[Floats] = [
        smooth(np.array(nodes), np.array(weights), grid=grid, width=reference.width)[1] for nodes, weights in measures
    ]
    return float(np.abs(np.mean(found, axis=0) - np.array(reference.cumulative)).max())
