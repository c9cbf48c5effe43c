"""What `measure_flatness` measures: every knob in one frozen record, checked before any work starts.

The defaults fit a model of a few million parameters on two CPU cores (about 20 s for two spaces); a large model needs
a smaller `basis_size` and `graph_budget_bytes`, whose units are vectors of the space and bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.errors import SettingsError
from analysis.landscape import symmetric_alphas
from analysis.sharpness import check_radius
from analysis.spaces import check_space_name


@dataclass(frozen=True)
class FlatnessSettings:
    """What is measured, where and how exactly.

    Attributes:
        spaces: Any of full, lora, tangent.
        radius: rho = ||dW||_F of the worst case, the same in every space.
        average_radius: rho of the average case. A random direction of a large space barely meets the curved
            ones, so at the worst case's radius its increase would be lost in rounding.
        top: How many of the largest eigenvalues; 0 with bottom=0 leaves the spectrum out.
        bottom: How many of the smallest.
        tolerance: Largest residual of a converged eigenvalue, relative to |lambda_max|.
        max_products: Most Hessian products per space; what has not converged by then says so.
        basis_size: Lanczos vectors held at once.
        gradient_rank: r of the gradient's top-r singular part; 0 leaves it out.
        ascent_steps: Most points of the projected ascent.
        ascent_tolerance: Relative rise of the increase below which it stops.
        average_draws: Most random directions of the average case; 0 leaves it out.
        average_tolerance: Relative standard error at which it draws no more.
        slice_directions: How many slices; 0 leaves them out.
        slice_extent: Largest alpha, relative to the rows of the weights.
        slice_points: Odd number of positions along a slice.
        seed: Seed of all random directions.
        graph_budget_bytes: What may be held to make Hessian products cheaper, see `HessianOperator`.
        check_determinism: Whether to begin by evaluating loss and gradient twice.
    """

    spaces: tuple[str, ...] = ("full", "lora")
    radius: float = 0.05
    average_radius: float = 1.0
    top: int = 3
    bottom: int = 1
    tolerance: float = 5e-3
    max_products: int = 60
    basis_size: int = 32
    gradient_rank: int = 8
    ascent_steps: int = 5
    ascent_tolerance: float = 1e-2
    average_draws: int = 4
    average_tolerance: float = 0.1
    slice_directions: int = 2
    slice_extent: float = 0.5
    slice_points: int = 9
    seed: int = 0
    graph_budget_bytes: int = 2**30
    check_determinism: bool = True

    def __post_init__(self) -> None:
        """Refuse impossible settings before any work starts."""
        if not self.spaces or len(set(self.spaces)) < len(self.spaces):
            raise SettingsError(f"spaces is {self.spaces}; expected one or more different names")
        for name in self.spaces:
            check_space_name(name)
        check_radius(self.radius)
        check_radius(self.average_radius, name="average_radius")
        symmetric_alphas(self.slice_extent, self.slice_points)
        for name, meaning in (
            ("tolerance", "relative residual such as 1e-3"),
            ("ascent_tolerance", "relative rise such as 1e-2"),
            ("average_tolerance", "relative standard error such as 0.1"),
        ):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected a positive {meaning}")
        for name, least in (
            ("top", 0),
            ("bottom", 0),
            ("max_products", self.top + self.bottom),
            ("basis_size", self.top + self.bottom + 3),
            ("gradient_rank", 0),
            ("ascent_steps", 1),
            ("average_draws", 0),
            ("slice_directions", 0),
            ("graph_budget_bytes", 0),
        ):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.average_draws == 1:
            raise SettingsError("average_draws is 1; expected 0, or at least 2 for a standard error")
