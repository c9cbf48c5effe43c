"""The largest and smallest eigenvalues of a symmetric operator, by thick-restart Lanczos (Wu and Simon, 2000).

Both ends of the spectrum come from one run, "largest" and "smallest" meant algebraically: sharpness-aware theory is
about the largest, and the most negative one tells a saddle from a minimum. The basis is bounded, fully
reorthogonalised, and restarted from its best Ritz vectors when full. A pair counts as converged by its residual,
never because a value stopped changing, and pairs that did not converge say so. One start vector finds one
copy of a multiple eigenvalue until rounding brings in the others; distinct close eigenvalues are found.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from analysis.errors import SettingsError
from analysis.lanczos import ThickRestartLanczos
from analysis.operators import CurvatureOperator
from analysis.progress import Progress, silent
from analysis.vectors import Vector


@dataclass(frozen=True)
class EigenPair:
    """One Ritz pair (value, x), ||x|| = 1.

    Attributes:
        value: Ritz value; some eigenvalue lies within `residual` of it.
        residual: ||M x - value x||, from the Lanczos recurrence.
        relative_residual: residual / |lambda_max|, |lambda_max| the largest magnitude of any Ritz value of the run.
        converged: Whether the relative residual is at most the tolerance.
    """

    value: float
    residual: float
    relative_residual: float
    converged: bool


@dataclass(frozen=True)
class Spectrum:
    """Both ends of a spectrum, what they cost, and the settings they were found with.

    Attributes:
        top: The largest eigenvalues, largest first.
        bottom: The smallest eigenvalues, smallest first.
        products: Matrix-vector products taken.
        restarts: How often the basis was full.
        seconds: Wall time.
        dimension: Number of independent directions of the operator.
        tolerance: Relative residual asked for.
        max_products: Most products allowed.
        basis_size: Most basis vectors held at once, the residual's aside.
        seed: Seed of the start vector.
    """

    top: tuple[EigenPair, ...]
    bottom: tuple[EigenPair, ...]
    products: int
    restarts: int
    seconds: float
    dimension: int
    tolerance: float
    max_products: int
    basis_size: int
    seed: int

    @property
    def converged(self) -> bool:
        """Whether every wanted pair converged."""
        return all(pair.converged for pair in self.top + self.bottom)


def eigenvalues(
    operator: CurvatureOperator,
    *,
    top: int = 3,
    bottom: int = 1,
    tolerance: float = 1e-3,
    max_products: int = 200,
    basis_size: int = 32,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Spectrum:
    """Return the `top` largest and the `bottom` smallest eigenvalues of a symmetric operator.

    Args:
        operator: Symmetric; see `CurvatureOperator`.
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest.
        tolerance: Largest residual of a converged pair, relative to |lambda_max|. The error of the value is
            about its square, relative to the gap to the next eigenvalue.
        max_products: Stop after this many products even if pairs have not converged.
        basis_size: Vectors held at once, at least top + bottom + 3; each is as large as the space.
        seed: Seed of the start vector.
        on_progress: Called after each product.

    Raises:
        SettingsError: A setting is out of range, or the operator is not symmetric.
        AnalysisError: A product is not finite.
    """
    return eigenpairs(
        operator,
        top=top,
        bottom=bottom,
        tolerance=tolerance,
        max_products=max_products,
        basis_size=basis_size,
        seed=seed,
        on_progress=on_progress,
    )[0]


def eigenpairs(
    operator: CurvatureOperator,
    *,
    top: int = 3,
    bottom: int = 1,
    tolerance: float = 1e-3,
    max_products: int = 200,
    basis_size: int = 32,
    seed: int = 0,
    on_progress: Progress = silent,
) -> tuple[Spectrum, list[Vector]]:
    """Return what `eigenvalues` returns, and the unit Ritz vectors: those of `top` in order, then those of `bottom`."""
    started = time.perf_counter()
    dimension = operator.dimension
    _check(operator, dimension, top=top, bottom=bottom, tolerance=tolerance, basis_size=basis_size)
    if max_products < 1:
        raise SettingsError(f"max_products is {max_products}; expected at least 1")
    run = ThickRestartLanczos(operator, top=top, bottom=bottom, basis_size=min(basis_size, dimension), seed=seed)
    fraction = 0.0
    while True:
        run.step()
        # A residual may rise when a new Ritz value appears; what is reported as done does not fall.
        fraction = max(fraction, _fraction(run, tolerance, max_products))
        on_progress(fraction, _note(run))
        if run.spans_wanted and bool((run.relative_residuals() <= tolerance).all()):
            break
        if run.exhausted or run.products >= max_products:
            break
        run.advance()
    if not run.spans_wanted:
        raise SettingsError(f"max_products is {max_products}, fewer than top + bottom = {top + bottom}")
    pairs = _pairs(run, tolerance)
    spectrum = Spectrum(
        top=pairs[:top],
        bottom=pairs[top:],
        products=run.products,
        restarts=run.restarts,
        seconds=time.perf_counter() - started,
        dimension=dimension,
        tolerance=tolerance,
        max_products=max_products,
        basis_size=run.basis.capacity,
        seed=seed,
    )
    return spectrum, run.ritz_vectors()


def _pairs(run: ThickRestartLanczos, tolerance: float) -> tuple[EigenPair, ...]:
    """Return the records of the wanted pairs."""
    return tuple(
        EigenPair(float(run.values[i]), float(run.residuals[i]), float(relative), bool(relative <= tolerance))
        for i, relative in zip(run.wanted, run.relative_residuals(), strict=True)
    )


def _fraction(run: ThickRestartLanczos, tolerance: float, max_products: int) -> float:
    """Return the larger of the share of products spent and the worst residual's way from 1 to the tolerance."""
    spent = run.products / max_products
    worst = float(run.relative_residuals().max()) if run.spans_wanted else 1.0
    way = math.log(max(worst, tolerance)) / math.log(min(tolerance, 0.5)) if worst < 1.0 else 0.0
    return min(max(spent, way), 1.0)


def _note(run: ThickRestartLanczos) -> str:
    """Return where a run stands, in a few words."""
    note = f"{run.products} products, largest {run.values[-1]:.4g}"
    return f"{note}, residual {run.relative_residuals().max():.1e}" if run.spans_wanted else note


def _check(
    operator: CurvatureOperator, dimension: int, *, top: int, bottom: int, tolerance: float, basis_size: int
) -> None:
    if not operator.symmetric:
        raise SettingsError("the operator is not symmetric; Lanczos needs a symmetric one")
    if top < 0 or bottom < 0 or top + bottom == 0:
        raise SettingsError(f"top={top} and bottom={bottom}; expected numbers >= 0 that are not both 0")
    if top + bottom > dimension:
        raise SettingsError(f"top + bottom is {top + bottom}, but the space has only {dimension} directions")
    if not tolerance > 0:
        raise SettingsError(f"tolerance is {tolerance}; expected a positive relative residual such as 1e-3")
    if basis_size < min(top + bottom + 3, dimension):
        raise SettingsError(f"basis_size is {basis_size}; expected at least top + bottom + 3 = {top + bottom + 3}")
