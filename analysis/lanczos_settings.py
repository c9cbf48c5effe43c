"""How a Lanczos run is set up: every option of `eigenvalues` in one record, refused before a product is taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from analysis.basis_storage import StorageName, check_storage
from analysis.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class LanczosSettings:
    """What `eigenvalues` was asked for; its docstring says what each means.

    Attributes:
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest.
        tolerance: Largest relative residual of a converged pair.
        max_products: Most products.
        basis_size: Most vectors held at once.
        basis_storage: "device" or "host".
        basis_dtype: Type the basis is kept in; None for that of the products.
        find_copies: Whether to go on from a second start vector.
        seed: Seed of the start vectors.
    """

    top: int
    bottom: int
    tolerance: float
    max_products: int
    basis_size: int
    basis_storage: StorageName
    basis_dtype: torch.dtype | None
    find_copies: bool
    seed: int

    def __post_init__(self) -> None:
        """Refuse what is impossible for every operator."""
        if self.top < 0 or self.bottom < 0 or self.top + self.bottom == 0:
            raise SettingsError(f"top={self.top} and bottom={self.bottom}; expected numbers >= 0 that are not both 0")
        if not self.tolerance > 0:
            raise SettingsError(f"tolerance is {self.tolerance}; expected a positive relative residual such as 1e-3")
        if self.max_products < 1:
            raise SettingsError(f"max_products is {self.max_products}; expected at least 1")
        check_storage(self.basis_storage, self.basis_dtype)

    def check_fits(self, dimension: int) -> None:
        """Refuse what is impossible in a space of this dimension.

        Raises:
            SettingsError: Too many pairs, or too small a basis.
        """
        wanted = self.top + self.bottom
        if wanted > dimension:
            raise SettingsError(f"top + bottom is {wanted}, but the space has only {dimension} directions")
        if self.basis_size < min(wanted + 3, dimension):
            raise SettingsError(f"basis_size is {self.basis_size}; expected at least top + bottom + 3 = {wanted + 3}")
        if self.max_products < wanted:
            raise SettingsError(f"max_products is {self.max_products}, fewer than top + bottom = {wanted}")
