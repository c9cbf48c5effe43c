"""The records of a spectrum's ends: eigenvalues with their residuals, what they cost, and how they were found.

They are shared by every backend, and made of numbers, strings and tuples only, so that `dataclasses.asdict` of them
is JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Backend = Literal["lanczos", "three-term lanczos", "pyhessian"]


@dataclass(frozen=True)
class EigenPair:
    """One approximate eigenpair (value, x), ||x|| = 1.

    Attributes:
        value: Some eigenvalue lies within `residual` of it.
        residual: ||M x - value x||. Lanczos takes it from its recurrence, which does not see the rounding of stored
            vectors and products; `Spectrum.asymmetry` says what that does to the values.
        relative_residual: residual / |lambda_max|, |lambda_max| the largest magnitude of any value of the run.
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
        restarts: How often the basis was compressed.
        seconds: Wall time.
        dimension: Number of independent directions of the operator.
        tolerance: Relative residual asked for.
        max_products: Most products allowed.
        basis_size: Most basis vectors held at once.
        seed: Seed of the start vector.
        asymmetry: Largest |<q_i, M q_j> - <q_j, M q_i>| / |lambda_max| met between basis vectors. Zero for exact
            products; rounding, in products or basis, moves values by about as much. None if it was not seen.
        basis_storage: Where the basis was kept, "device" or "host".
        basis_dtype: The type it was kept in, None for that of the products.
        backend: What found them.
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
    asymmetry: float | None
    basis_storage: str
    basis_dtype: str | None
    backend: Backend

    @property
    def converged(self) -> bool:
        """Whether every wanted pair converged."""
        return all(pair.converged for pair in self.top + self.bottom)
