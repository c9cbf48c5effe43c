"""The spectral density of a symmetric operator, by stochastic Lanczos quadrature.

    phi(t) = 1/n sum_i delta(t - lambda_i)  ~  mean over probes of sum_j w_j N(t; theta_j, width^2)

theta_j and w_j are nodes and weights of the Gauss quadrature that a Lanczos run from a random vector gives (Golub and
Welsch, 1969; Ubaru, Chen and Saad, 2017; Ghorbani, Krishnan and Xiao, 2019). It is a probability density: n times its
integral over an interval estimates the number of eigenvalues there. The first moments of the unsmoothed measure come
with it, since they estimate tr(M) / n and ||M||_F^2 / n and so can be checked against other estimates.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch

from analysis.basis_storage import StorageName, check_storage
from analysis.errors import SettingsError
from analysis.krylov import Floats
from analysis.operators import CurvatureOperator
from analysis.progress import Progress, silent, within
from analysis.quadrature import gauss_quadrature
from analysis.smoothing import SmoothedMeasures
from analysis.standard_error import mean_and_error

# Fewer probes give no usable standard error.
_LEAST_DRAWS = 3


@dataclass(frozen=True)
class SpectralDensity:
    """A smoothed spectral density with the quadrature it was made from.

    Attributes:
        grid: Values t, (points,).
        density: phi(t), per unit of eigenvalue; its integral is 1.
        density_error: Standard error of `density` over the probes; 0 with a single probe.
        cumulative: Integral of `density` up to t.
        cumulative_error: Largest standard error of `cumulative` over the grid; 0 with a single probe.
        nodes: Ritz values of every probe, ascending.
        weights: Their weights; every probe's sum to 1.
        width: Standard deviation of the smoothing kernel.
        mean: Estimate of tr(M) / n.
        mean_error: Its standard error over the probes; 0 with a single one.
        second_moment: Estimate of ||M||_F^2 / n.
        second_moment_error: Its standard error.
        converged: Whether `cumulative_error` is at most the tolerance, with three probes or more.
        tolerance: Error of the cumulative asked for.
        draws: Probes taken.
        steps: Most Lanczos steps of a probe.
        reorthogonalised: Whether bases were kept orthogonal.
        products: Matrix-vector products taken.
        dimension: n.
        seconds: Wall time.
        seed: Seed of the probes.
    """

    grid: tuple[float, ...]
    density: tuple[float, ...]
    density_error: tuple[float, ...]
    cumulative: tuple[float, ...]
    cumulative_error: float
    nodes: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    width: float
    mean: float
    mean_error: float
    second_moment: float
    second_moment_error: float
    converged: bool
    tolerance: float
    draws: int
    steps: int
    reorthogonalised: bool
    products: int
    dimension: int
    seconds: float
    seed: int


def spectral_density(
    operator: CurvatureOperator,
    *,
    draws: int = 10,
    steps: int = 64,
    tolerance: float = 0.01,
    width: float | None = None,
    points: int = 512,
    reorthogonalise: bool = True,
    basis_storage: StorageName = "device",
    basis_dtype: torch.dtype | None = None,
    seed: int = 0,
    on_progress: Progress = silent,
) -> SpectralDensity:
    """Return the spectral density of a symmetric operator with its standard error.

    Args:
        operator: Symmetric; its random directions are standard normal vectors of its domain, so that in a
            subspace the density is that of the operator there. The products it returns are overwritten.
        draws: Most probes. A large space needs few: the error falls with 1 / sqrt(draws * dimension).
        steps: Lanczos steps per probe: products, and vectors held at once. The quadrature is exact for polynomials
            of degree 2 steps - 1, so structure finer than about range / steps is not resolved.
        tolerance: Stop, after three probes or more, when the standard error of the cumulative density is at most this
            everywhere.
        width: Standard deviation of the smoothing kernel; None for (largest node - smallest node) / steps.
        points: Size of the grid.
        reorthogonalise: False keeps three vectors instead of `steps`. Copies of outer eigenvalues then appear
            among the nodes and share one eigenvalue's weight, which the density does not show.
        basis_storage: "device" or "host", see `eigenvalues`.
        basis_dtype: None or torch.bfloat16, see `eigenvalues`.
        seed: Seed of the probes.
        on_progress: Called after each product.

    Raises:
        SettingsError: A setting is out of range, or the operator is not symmetric.
        AnalysisError: A product is not finite.
    """
    _check(operator, draws=draws, steps=steps, tolerance=tolerance, width=width, points=points)
    _check_basis(basis_storage, basis_dtype, kept=reorthogonalise)
    started = time.perf_counter()
    quadrature = partial(
        gauss_quadrature,
        operator,
        steps=min(steps, operator.dimension),
        reorthogonalise=reorthogonalise,
        storage=basis_storage,
        dtype=basis_dtype,
    )
    measures: list[tuple[Floats, Floats]] = []
    for draw in range(draws):
        start = operator.random_direction(seed=seed, stream=f"density-{draw}")
        part = within(on_progress, draw / draws, (draw + 1) / draws, label=f"probe {draw + 1}")
        measures.append(quadrature(start, on_progress=part))
        smoothed = SmoothedMeasures(measures, width=width, steps=steps, points=points)
        converged = len(measures) >= _LEAST_DRAWS and smoothed.cumulative_error <= tolerance
        if converged:
            break
    on_progress(1.0, f"{len(measures)} probes, cumulative density to {smoothed.cumulative_error:.1e}")
    mean, mean_error = mean_and_error([float(weights @ nodes) for nodes, weights in measures])
    second, second_error = mean_and_error([float(weights @ nodes**2) for nodes, weights in measures])
    return SpectralDensity(
        grid=tuple(smoothed.grid.tolist()),
        density=tuple(smoothed.density.tolist()),
        density_error=tuple(smoothed.density_error.tolist()),
        cumulative=tuple(smoothed.cumulative.tolist()),
        cumulative_error=smoothed.cumulative_error,
        nodes=tuple(tuple(nodes.tolist()) for nodes, _ in measures),
        weights=tuple(tuple(weights.tolist()) for _, weights in measures),
        width=smoothed.width,
        mean=mean,
        mean_error=mean_error,
        second_moment=second,
        second_moment_error=second_error,
        converged=converged,
        tolerance=tolerance,
        draws=len(measures),
        steps=steps,
        reorthogonalised=reorthogonalise,
        products=sum(len(nodes) for nodes, _ in measures),
        dimension=operator.dimension,
        seconds=time.perf_counter() - started,
        seed=seed,
    )


def _check(
    operator: CurvatureOperator, *, draws: int, steps: int, tolerance: float, width: float | None, points: int
) -> None:
    if not operator.symmetric:
        raise SettingsError("the operator is not symmetric; Lanczos needs a symmetric one")
    for name, value, least in (("draws", draws, 1), ("steps", steps, 2), ("points", points, 32)):
        if value < least:
            raise SettingsError(f"{name} is {value}; expected at least {least}")
    for name, number in (("tolerance", tolerance), ("width", 1.0 if width is None else width)):
        if not number > 0:
            raise SettingsError(f"{name} is {number}; expected a positive number")


def _check_basis(storage: StorageName, dtype: torch.dtype | None, *, kept: bool) -> None:
    check_storage(storage, dtype)
    if not kept and (storage != "device" or dtype is not None):
        raise SettingsError("basis_storage and basis_dtype are for reorthogonalise=True; without it no basis is kept")
