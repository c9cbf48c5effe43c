"""The largest and the smallest eigenvalue in two vectors of memory, by the three-term Lanczos recurrence.

    beta_j v_{j+1} = M v_j - alpha_j v_j - beta_{j-1} v_{j-1}

Thick restarts need a basis, and seven billion parameters leave no room for one beside the model. The outermost
eigenvalues need none: without reorthogonalisation a converged Ritz value comes back as copies of itself, which crowd
out the second and third eigenvalue but neither end (Paige, 1971; Parlett, 1998, chapter 13).
What is given up is everything else: further eigenvalues, eigenvectors, and with them a residual that is recomputed
instead of read off the recurrence.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

from analysis import vectors
from analysis.eigenpair import EigenPair, Spectrum
from analysis.errors import AnalysisError, DirectionError, SettingsError
from analysis.krylov import Floats
from analysis.operators import CurvatureOperator
from analysis.progress import Progress, silent
from analysis.sharding import local
from analysis.vectors import Vector


def extreme_eigenvalues(
    operator: CurvatureOperator,
    *,
    tolerance: float = 1e-2,
    max_products: int = 100,
    start: Vector | None = None,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Spectrum:
    """Return the largest and the smallest eigenvalue of a symmetric operator, holding two vectors.

    An operator that can add its product to a vector (`accumulate`, see `analysis.operators.SpaceOperator`) needs no
    third one.

    Args:
        operator: Symmetric.
        tolerance: Largest distance of both ends from an eigenvalue, relative to |lambda_max|, see `ThreeTermLanczos`.
            Rounding of products and vectors is not seen by it: in bfloat16 it moved the ends by 1 to 2 % in two layers
            of Llama 3.1 8B and by more in all 32, and bounds below 5e-3 were not reached (see
            `benchmarks/results/curvature.json`); compute in float32 where that matters.
        max_products: Stop after this many products even if the ends have not converged.
        start: Start vector, overwritten. The gradient is a good one: it lies close to the outermost eigenvectors, and
            took 13 products where a random vector took 22 (Llama, 6 layers, at initialisation).
        seed: Seed of a random start vector, if none is given.
        on_progress: Called after each product.

    Raises:
        SettingsError: A setting is out of range, or the operator is not symmetric.
        AnalysisError: A product is not finite.
    """
    if not operator.symmetric:
        raise SettingsError("the operator is not symmetric; Lanczos needs a symmetric one")
    if not tolerance > 0:
        raise SettingsError(f"tolerance is {tolerance}; expected a positive relative residual such as 1e-2")
    if max_products < 2 or operator.dimension < 2:
        raise SettingsError(
            f"max_products is {max_products} and the space has {operator.dimension} directions; both ends need two"
        )
    started = time.perf_counter()
    run = ThreeTermLanczos(
        operator, operator.random_direction(seed=seed, stream="lanczos-0") if start is None else start
    )
    limit = min(max_products, operator.dimension)
    while True:
        run.step()
        worst = run.relative_residual
        done = run.products >= limit or (run.products > 1 and worst <= tolerance)
        way = math.log(max(worst, tolerance)) / math.log(min(tolerance, 0.5)) if 0 < worst < 1 else 0.0
        note = f"{run.products} products, ends {run.ends[0]:.4g} and {run.ends[1]:.4g}, residual {worst:.1e}"
        on_progress(1.0 if done else min(max(run.products / limit, way), 1.0), note)
        if done or run.exhausted:
            break
        run.advance()
    bottom, top = (
        EigenPair(value, residual, relative, relative <= tolerance)
        for value, residual in zip(run.ends, run.residuals, strict=True)
        for relative in (residual / (run.magnitude or 1.0),)
    )
    return Spectrum(
        top=(top,),
        bottom=(bottom,),
        products=run.products,
        restarts=0,
        seconds=time.perf_counter() - started,
        dimension=operator.dimension,
        tolerance=tolerance,
        max_products=max_products,
        basis_size=2,
        seed=seed,
        asymmetry=None,
        basis_storage="device",
        basis_dtype=None,
        backend="three-term lanczos",
    )


class ThreeTermLanczos:
    """The state of one run.

    The residual of an end is a bound of its distance from an eigenvalue: beta_j |s_j|, s_j the last entry of the Ritz
    vector in the Lanczos basis, or the bound of the step before and how far the value has moved since. When a copy of
    a converged value forms, the weight of s moves to and fro between the two although the value stays (Paige, 1980).

    Args:
        operator: Symmetric.
        start: Start vector, overwritten.

    Attributes:
        ends: The smallest and the largest Ritz value.
        residuals: Bounds of these two.
        magnitude: Largest |Ritz value| so far.
        products: Products taken.
        exhausted: Whether the Krylov space is invariant up to rounding, so that nothing is left to add.
    """

    def __init__(self, operator: CurvatureOperator, start: Vector) -> None:
        self.ends = (0.0, 0.0)
        self.residuals = (math.inf, math.inf)
        self.magnitude = 0.0
        self.products = 0
        self.exhausted = False
        self._operator: Any = operator
        self._current = start
        length = vectors.norm(start)
        if length == 0.0:
            raise DirectionError("the start vector is zero; take a random one")
        _divide(self._current, length)
        self._previous: Vector = []
        self._alphas: list[float] = []
        self._betas: list[float] = []
        self._epsilon = max(torch.finfo(vectors.working_dtype(block.dtype)).eps for block in self._current)

    @property
    def relative_residual(self) -> float:
        """The larger residual over |lambda_max|."""
        return max(self.residuals) / self.magnitude if self.magnitude else 0.0

    def step(self) -> None:
        """Take one product; the vector before the current one is overwritten by the next."""
        before = self._betas[-1] if self._betas else 0.0
        self._previous = self._multiplied(before)
        self.products += 1
        alpha = vectors.dot(self._current, self._previous)
        for block, current in zip(self._previous, self._current, strict=True):
            local(block).add_(local(current), alpha=-alpha)
        beta = vectors.norm(self._previous)
        if not (math.isfinite(alpha) and math.isfinite(beta)):
            raise AnalysisError("a curvature product is not finite; check the weights, or use a wider type")
        self._alphas.append(alpha)
        self._betas.append(beta)
        values, rotation = np.linalg.eigh(self._tridiagonal())
        before_ends, before_residuals = self.ends, self.residuals
        self.ends = (float(values[0]), float(values[-1]))
        low, high = (
            min(beta * abs(float(rotation[-1, end])), before_residuals[end] + abs(self.ends[end] - before_ends[end]))
            for end in (0, -1)
        )
        self.residuals = (low, high)
        self.magnitude = max(self.magnitude, float(np.abs(values).max()))
        self.exhausted = beta <= 8 * self._epsilon * self.magnitude

    def advance(self) -> None:
        """Make the new vector the current one."""
        _divide(self._previous, self._betas[-1])
        self._current, self._previous = self._previous, self._current

    def _multiplied(self, before: float) -> Vector:
        """Return M v_j - beta_{j-1} v_{j-1}, in the memory of v_{j-1} if the operator can add to it."""
        if not self._previous:
            first: Vector = self._operator.matvec(self._current)
            return first
        accumulate = getattr(self._operator, "accumulate", None)
        if accumulate is not None:
            accumulate(self._current, self._previous, scale=-before)
            return self._previous
        product: Vector = self._operator.matvec(self._current)
        for block, earlier in zip(product, self._previous, strict=True):
            local(block).add_(local(earlier), alpha=-before)
        return product

    def _tridiagonal(self) -> Floats:
        inner = self._betas[:-1]
        matrix: Floats = np.diag(self._alphas) + np.diag(inner, 1) + np.diag(inner, -1)
        return matrix


def _divide(vector: Vector, length: float) -> None:
    for block in vector:
        local(block).div_(length)
