"""A second opinion: the eigenvalues and the trace that PyHessian 0.1 itself finds for an objective in a space.

It finds the eigenvalues of largest magnitude, by power iteration with deflation; "largest" in the sense of
`analysis.spectrum` it cannot give. Its spectral density calls `torch.eig`, which PyTorch removed, and is not offered;
nor are subspaces of the weights, which it does not know. What it needs to measure our loss is in
`analysis.pyhessian_run`.
"""

from __future__ import annotations

import time

from analysis import vectors
from analysis.eigenpair import EigenPair, Spectrum
from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.pyhessian_run import running_pyhessian
from analysis.spaces import ParameterSpace
from analysis.standard_error import mean_and_error, t_quantile
from analysis.trace import Trace


def pyhessian_eigenvalues(
    objective: Objective,
    space: ParameterSpace,
    *,
    count: int = 1,
    tolerance: float = 1e-4,
    max_iterations: int = 100,
    seed: int = 0,
) -> Spectrum:
    """Return the `count` Hessian eigenvalues of largest magnitude, positive ones in `top`, negative ones in `bottom`.

    Args:
        objective: The token-weighted mean loss.
        space: A space whose coordinates are all free.
        count: How many eigenvalues of both signs together.
        tolerance: Relative change between two iterations at which PyHessian stops. A small change is not a small
            error: whether a pair has converged is decided by its residual, as a share of |lambda_max|, and with the
            same number, which takes one more product each.
        max_iterations: Most iterations per eigenvalue.
        seed: Seed of the start vectors.

    Raises:
        SettingsError: A setting is out of range.
        AnalysisError: PyHessian is not installed, or cannot work in this space.
    """
    if count < 1 or max_iterations < 1 or not tolerance > 0:
        raise SettingsError(
            f"count={count}, max_iterations={max_iterations}, tolerance={tolerance}; expected positive numbers"
        )
    started = time.perf_counter()
    with running_pyhessian(objective, space, seed) as peer:
        values, found = peer.hessian.eigenvalues(maxIter=max_iterations, tol=tolerance, top_n=count)
        residuals = [
            vectors.norm(vectors.axpy(-value, x, peer.product(x))) for value, x in zip(values, found, strict=True)
        ]
        products = peer.products
    largest = max(map(abs, values)) or 1.0
    pairs = sorted(
        (
            EigenPair(value, residual, residual / largest, residual <= tolerance * largest)
            for value, residual in zip(values, residuals, strict=True)
        ),
        key=lambda pair: pair.value,
    )
    return Spectrum(
        top=tuple(pair for pair in reversed(pairs) if pair.value > 0),
        bottom=tuple(pair for pair in pairs if pair.value <= 0),
        products=products,
        restarts=0,
        seconds=time.perf_counter() - started,
        dimension=space.dimension,
        tolerance=tolerance,
        max_products=count * (max_iterations + 1),
        basis_size=count,
        seed=seed,
        asymmetry=None,
        basis_storage="device",
        basis_dtype=None,
        backend="pyhessian",
    )


def pyhessian_trace(
    objective: Objective,
    space: ParameterSpace,
    *,
    tolerance: float = 0.02,
    max_products: int = 100,
    seed: int = 0,
) -> Trace:
    """Return PyHessian's Hutchinson estimate of the trace, with the standard error of its samples.

    Its own stopping rule is off: it looks at the change of the running mean, which is small long before the error is,
    and ends at the second sample when the mean is negative.

    Args:
        objective: The token-weighted mean loss.
        space: A space whose coordinates are all free.
        tolerance: Standard error, relative to |trace|, at which the result counts as converged.
        max_products: Samples, one product each; at least 4.
        seed: Seed of the samples.

    Raises:
        SettingsError: A setting is out of range.
        AnalysisError: PyHessian is not installed, or cannot work in this space.
    """
    if max_products < 4 or not tolerance > 0:
        raise SettingsError(f"max_products={max_products}, tolerance={tolerance}; expected at least 4, and above 0")
    started = time.perf_counter()
    with running_pyhessian(objective, space, seed) as peer:
        samples = peer.hessian.trace(maxIter=max_products, tol=float("-inf"))
        products = peer.products
    value, error = mean_and_error(samples)
    margin = t_quantile(len(samples) - 1) * error
    return Trace(
        value=value,
        standard_error=error,
        low=value - margin,
        high=value + margin,
        method="pyhessian",
        samples=len(samples),
        products=products,
        converged=error <= tolerance * abs(value),
        tolerance=tolerance,
        max_products=max_products,
        basis_size=0,
        dimension=space.dimension,
        seconds=time.perf_counter() - started,
        seed=seed,
    )
