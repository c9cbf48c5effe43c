"""The largest and smallest eigenvalues of a symmetric operator, by thick-restart Lanczos (Wu and Simon, 2000).

Both ends of the spectrum come from one run, "largest" and "smallest" meant algebraically: sharpness-aware theory is
about the largest, and the most negative one tells a saddle from a minimum. The basis is bounded, fully
reorthogonalised, and restarted from its best Ritz vectors when full. A pair counts as converged by its residual,
never because a value stopped changing, and pairs that did not converge say so. One start vector finds one
copy of a multiple eigenvalue until rounding brings in the others; `find_copies` goes on from a second one.
"""

from __future__ import annotations

import math
import time

import torch

from analysis.basis_storage import StorageName
from analysis.eigenpair import EigenPair, Spectrum
from analysis.errors import SettingsError
from analysis.lanczos import ThickRestartLanczos
from analysis.lanczos_settings import LanczosSettings
from analysis.operators import CurvatureOperator
from analysis.progress import Progress, silent
from analysis.vectors import Vector


def eigenvalues(
    operator: CurvatureOperator,
    *,
    top: int = 3,
    bottom: int = 1,
    tolerance: float = 1e-3,
    max_products: int = 200,
    basis_size: int = 32,
    basis_storage: StorageName = "device",
    basis_dtype: torch.dtype | None = None,
    find_copies: bool = False,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Spectrum:
    """Return the `top` largest and the `bottom` smallest eigenvalues of a symmetric operator.

    Peak memory, in vectors of the space: `basis_size` where the basis lies, and on the device one product and
    whatever the operator needs to take it; with the basis on the host also the vector it is taken of, and two strips
    of the basis.

    Args:
        operator: Symmetric; see `CurvatureOperator`. The products it returns are overwritten.
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest.
        tolerance: Largest residual of a converged pair, relative to |lambda_max|. The error of the value is
            about its square, relative to the gap to the next eigenvalue.
        max_products: Stop after this many products even if pairs have not converged.
        basis_size: Vectors held at once, at least top + bottom + 3; each is as large as the space. With the least,
            Hessian-like spectra took 1.2 to 1.9 times the products that an unbounded basis takes.
        basis_storage: "device" keeps the basis beside the operator's vectors; "host" in host memory, from where it
            is streamed about once per product and once per restart.
        basis_dtype: None keeps it in float32, or the vectors' wider type. torch.bfloat16 halves it, and takes products
            of bfloat16 vectors. Rounding then leaves true residuals of up to 5e-3 |lambda_max|, which the
            recurrence does not see; separated values were still right to 5e-5 |lambda_max|.
        find_copies: Once all pairs have converged, go on from a second start vector until the pairs next to
            them have converged too, which finds a second copy of an eigenvalue.
        seed: Seed of the start vectors.
        on_progress: Called after each product.

    Raises:
        SettingsError: A setting is out of range, or the operator is not symmetric.
        AnalysisError: A product is not finite.
    """
    settings = LanczosSettings(
        top=top,
        bottom=bottom,
        tolerance=tolerance,
        max_products=max_products,
        basis_size=basis_size,
        basis_storage=basis_storage,
        basis_dtype=basis_dtype,
        find_copies=find_copies,
        seed=seed,
    )
    return _solve(operator, settings, on_progress)[0]


def eigenpairs(
    operator: CurvatureOperator,
    *,
    top: int = 3,
    bottom: int = 1,
    tolerance: float = 1e-3,
    max_products: int = 200,
    basis_size: int = 32,
    basis_storage: StorageName = "device",
    basis_dtype: torch.dtype | None = None,
    find_copies: bool = False,
    seed: int = 0,
    on_progress: Progress = silent,
) -> tuple[Spectrum, list[Vector]]:
    """Return what `eigenvalues` returns, and the unit Ritz vectors, vectors of the operator's domain.

    Those of `top` come in order, then those of `bottom`. They are formed on the device, beside the basis.

    Args:
        operator: Symmetric; the products it returns are overwritten.
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest.
        tolerance: Largest relative residual of a converged pair, see `eigenvalues`.
        max_products: Stop after this many products even if pairs have not converged.
        basis_size: Vectors held at once, at least top + bottom + 3.
        basis_storage: "device" or "host", see `eigenvalues`.
        basis_dtype: None or torch.bfloat16, see `eigenvalues`.
        find_copies: Whether to go on from a second start vector, see `eigenvalues`.
        seed: Seed of the start vectors.
        on_progress: Called after each product.

    Raises:
        SettingsError: A setting is out of range, or the operator is not symmetric.
        AnalysisError: A product is not finite.
    """
    settings = LanczosSettings(
        top=top,
        bottom=bottom,
        tolerance=tolerance,
        max_products=max_products,
        basis_size=basis_size,
        basis_storage=basis_storage,
        basis_dtype=basis_dtype,
        find_copies=find_copies,
        seed=seed,
    )
    spectrum, run = _solve(operator, settings, on_progress)
    return spectrum, run.ritz_vectors()


def _solve(
    operator: CurvatureOperator, settings: LanczosSettings, on_progress: Progress
) -> tuple[Spectrum, ThickRestartLanczos]:
    """Iterate until the pairs converge, the products run out or the space is exhausted; the run holds the basis."""
    started = time.perf_counter()
    if not operator.symmetric:
        raise SettingsError("the operator is not symmetric; Lanczos needs a symmetric one")
    settings.check_fits(operator.dimension)
    run = ThickRestartLanczos(operator, settings)
    fraction, looks_for_copies = 0.0, False
    while True:
        run.step()
        # A residual may rise when a new Ritz value appears; what is reported as done does not fall.
        fraction = max(fraction, _fraction(run, settings))
        done = run.spans_wanted and _converged(run, settings.tolerance, with_neighbours=looks_for_copies)
        stop = run.exhausted or run.products >= settings.max_products
        stop = stop or (done and (looks_for_copies or not settings.find_copies))
        on_progress(1.0 if stop else fraction, _note(run))
        if stop:
            break
        if done and not looks_for_copies:
            looks_for_copies = True
            run.start_again()
        else:
            run.advance()
    return _record(run, settings, operator.dimension, time.perf_counter() - started), run


def _record(run: ThickRestartLanczos, settings: LanczosSettings, dimension: int, seconds: float) -> Spectrum:
    pairs = tuple(
        EigenPair(float(run.values[i]), float(run.residuals[i]), float(relative), bool(relative <= settings.tolerance))
        for i, relative in zip(run.wanted, run.relative_residuals(run.wanted), strict=True)
    )
    return Spectrum(
        top=pairs[: settings.top],
        bottom=pairs[settings.top :],
        products=run.products,
        restarts=run.restarts,
        seconds=seconds,
        dimension=dimension,
        tolerance=settings.tolerance,
        max_products=settings.max_products,
        basis_size=run.basis.capacity,
        seed=settings.seed,
        asymmetry=run.asymmetry / (run.magnitude or 1.0),
        basis_storage=settings.basis_storage,
        basis_dtype=None if settings.basis_dtype is None else str(settings.basis_dtype).removeprefix("torch."),
        backend="lanczos",
    )


def _converged(run: ThickRestartLanczos, tolerance: float, *, with_neighbours: bool) -> bool:
    """Return whether the wanted pairs have converged, and the pairs next to them."""
    positions = run.wanted + (run.neighbours if with_neighbours else [])
    return max(positions) < len(run.values) and bool((run.relative_residuals(positions) <= tolerance).all())


def _fraction(run: ThickRestartLanczos, settings: LanczosSettings) -> float:
    """Return the larger of the share of products spent and the worst residual's way from 1 to the tolerance."""
    spent = run.products / settings.max_products
    worst = float(run.relative_residuals(run.wanted).max()) if run.spans_wanted else 1.0
    way = math.log(max(worst, settings.tolerance)) / math.log(min(settings.tolerance, 0.5)) if worst < 1.0 else 0.0
    # The search for copies comes after convergence and costs about as much again.
    return min(max(spent, way / 2 if settings.find_copies else way), 1.0)


def _note(run: ThickRestartLanczos) -> str:
    """Return where a run stands, in a few words."""
    note = f"{run.products} products, largest {run.values[-1]:.4g}"
    return f"{note}, residual {run.relative_residuals(run.wanted).max():.1e}" if run.spans_wanted else note
