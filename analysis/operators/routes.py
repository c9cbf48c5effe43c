"""Choosing the route of a Hessian product by the model, and checking the choice against an independent one.

Reverse is the cheapest where it works; activation checkpointing wants the forward route, which keeps the memory that
checkpointing saves; differences work everywhere but want float32 weights. What a model blocks is found by trying:
one product along a random direction. The same product by central differences then tells a derivative that is wrong
or silently missing, as custom kernels can have, from one that is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from analysis import vectors
from analysis.errors import SecondDerivativeError, SettingsError, SpaceError, nearest
from analysis.modes import checkpointed_layers
from analysis.objective import Objective
from analysis.operators.difference import RELATIVE_STEP, DifferenceRoute
from analysis.operators.forward import ForwardRoute
from analysis.operators.reverse import ReverseRoute
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector

ROUTES = ("auto", "reverse", "forward", "difference")
AGREEMENT = 0.02


class Route(Protocol):
    """A way to take Hessian products, batch by batch."""

    @property
    def name(self) -> str:
        """Name of the route."""
        ...

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add the sum over the batches of N_b H_b v to `product`, and return sum N_b."""
        ...


@dataclass(frozen=True)
class RouteChoice:
    """Which route runs, why, and how it was checked.

    Attributes:
        route: `reverse`, `forward` or `difference`.
        reason: What decided.
        checked_against: The independent route of the check, or None.
        disagreement: Length of the difference of the two routes' products along one random direction, relative to the
            longer product.
    """

    route: str
    reason: str
    checked_against: str | None = None
    disagreement: float | None = None


def check_route(name: str) -> str:
    """Return a route's name, or refuse it with the nearest one.

    Raises:
        SettingsError: The name is unknown.
    """
    if name not in ROUTES:
        raise SettingsError(f"unknown route {name!r}{nearest(name, ROUTES)}; known: {', '.join(ROUTES)}")
    return name


def build_route(name: str, objective: Objective, space: ParameterSpace, *, graph_budget_bytes: int) -> Route:
    """Return the route of that name."""
    if name == "reverse":
        return ReverseRoute(objective, space, graph_budget_bytes=graph_budget_bytes)
    if name == "forward":
        return ForwardRoute(objective, space)
    return DifferenceRoute(objective, space)


def choose_route(objective: Objective, space: ParameterSpace, *, graph_budget_bytes: int) -> tuple[Route, RouteChoice]:
    """Return the first route that works for this model, checked against differences where the weights allow them.

    Call it inside the space. It costs one product and, in float32 or wider, two to four gradients.

    Raises:
        SecondDerivativeError: No route works, or the one that does disagrees with differences of gradients.
    """
    recomputed = bool(checkpointed_layers(objective.model))
    order = ("forward", "reverse") if recomputed else ("reverse", "forward")
    reason = "activation checkpointing is on" if recomputed else "the cheapest"
    direction = space.random_direction(seed=0, stream="route")
    refusals = []
    for name in order:
        route = build_route(name, objective, space, graph_budget_bytes=graph_budget_bytes)
        try:
            found = _product(route, objective, space, direction)
        except SecondDerivativeError as error:
            refusals.append(str(error))
        except torch.OutOfMemoryError:
            refusals.append(f"the {name} route ran out of memory")
        else:
            return route, _checked(name, "; ".join(refusals) or reason, found, objective, space, direction)
    try:
        space.check_wide()
    except SpaceError as error:
        raise SecondDerivativeError(f"{'; '.join(refusals)}; and differences of gradients: {error}") from None
    return DifferenceRoute(objective, space), RouteChoice("difference", "; ".join(refusals))


def _checked(
    name: str, reason: str, found: Vector, objective: Objective, space: ParameterSpace, direction: Vector
) -> RouteChoice:
    """Compare a product with central differences, the second time with a smaller step."""
    disagreement = float("inf")
    for step in (RELATIVE_STEP, RELATIVE_STEP / 10):
        try:
            expected = _product(DifferenceRoute(objective, space, relative_step=step), objective, space, direction)
        except SpaceError:
            return RouteChoice(name, f"{reason}; not checked, as the weights are too narrow for differences")
        scale = max(vectors.norm(expected), vectors.norm(found))
        error = vectors.norm(vectors.axpy(-1.0, expected, found))
        disagreement = min(disagreement, error / scale if scale > 0 else 0.0)
        if disagreement <= AGREEMENT:
            return RouteChoice(name, reason, "difference", disagreement)
    raise SecondDerivativeError(
        f"the product of the {name} route differs from differences of gradients by {disagreement:.1%}: an operation "
        "of the model has a wrong or missing second derivative; take route='difference', or replace that operation"
    )


def _product(route: Route, objective: Objective, space: ParameterSpace, direction: Sequence[Tensor]) -> Vector:
    product = vectors.zeros_like(space.tensors)
    tokens = objective.add_over_ranks(product, route.add_products(list(direction), product))
    return space.project(vectors.scale(product, 1.0 / objective.checked_tokens(tokens)))
