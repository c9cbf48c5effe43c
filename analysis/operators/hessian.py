"""The Hessian of an objective in a parameter space: H v, in a subspace of the weights P H P v.

Three routes take the same product, and `auto` chooses among them (`analysis.operators.routes`): `reverse` by double
backward, `forward` by dual numbers, `difference` from gradients alone. Which one runs and why stands in the
operator's record, so that a report can say how its numbers came about.
"""

from __future__ import annotations

import torch

from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.operators.base import SpaceOperator
from analysis.operators.forward import ForwardRoute
from analysis.operators.reverse import ReverseRoute
from analysis.operators.routes import Route, RouteChoice, build_route, check_route, choose_route
from analysis.sharding import is_sharded
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


class HessianOperator(SpaceOperator):
    """The Hessian of an objective in a parameter space.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates. Each product enters it; run many inside `with space:`, since entering a space of
            factors writes them, and a graph is not used again after a weight was written.
        route: `reverse`, `forward`, `difference`, or `auto`, which tries and checks at the first product.
        graph_budget_bytes: How many bytes of saved tensors the reverse route may keep between products; batches are
            kept in order while they fit, and the others are rebuilt for each product. 0 keeps nothing.
        vector_dtype: Type of products, see `SpaceOperator`.
        compile_layers: Whether to compile the model's repeated layers (`analysis.operators.compiled_layers`), for many
            products of a model too large to keep a graph of: compiling takes 10 to 30 seconds a kind of layer
            on a GPU, and products take three quarters of the time or less afterwards. Goes with `forward`, or `auto`,
            which then takes that.
        compute_dtype: With compiled layers, the type to compute in if the weights are narrower. In torch.float32 the
            Hessian of a bfloat16 model is that of its weights, without the rounding of its activations, and the
            weights need no second copy.

    Raises:
        SettingsError: The route is unknown, cannot be compiled, finds no layers to compile, or cannot be taken with
            sharded matrices.
    """

    def __init__(
        self,
        objective: Objective,
        space: ParameterSpace,
        *,
        route: str = "reverse",
        graph_budget_bytes: int = 2**30,
        vector_dtype: torch.dtype | None = None,
        compile_layers: bool = False,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(objective, space, vector_dtype=vector_dtype)
        self.graph_budget_bytes = graph_budget_bytes
        self._route: Route | None = None
        self._choice: RouteChoice | None = None
        if is_sharded(space.tensors):
            if check_route(route) not in ("auto", "reverse") or compile_layers or compute_dtype is not None:
                raise SettingsError(
                    f"matrices that are sharded over ranks go with the reverse route; found route={route!r}, "
                    f"compile_layers={compile_layers}"
                )
            route = "reverse"
        if compile_layers or compute_dtype is not None:
            if check_route(route) not in ("auto", "forward"):
                raise SettingsError(f"compile_layers needs the forward route; found route={route!r}")
            self._route = ForwardRoute(objective, space, compile_layers=compile_layers, compute_dtype=compute_dtype)
            self._choice = RouteChoice("forward", "compiled layers were asked for")
        elif check_route(route) != "auto":
            self._route = build_route(route, objective, space, graph_budget_bytes=graph_budget_bytes)
            self._choice = RouteChoice(route, "asked for")

    def choose(self) -> RouteChoice:
        """Return which route runs, choosing it now if it was left open."""
        if self._choice is None:
            with self.space, torch.enable_grad():
                self._route, self._choice = choose_route(
                    self.objective, self.space, graph_budget_bytes=self.graph_budget_bytes
                )
        return self._choice

    @property
    def kept_bytes(self) -> int:
        """Bytes of saved tensors that are held between products."""
        return self._route.kept_bytes if isinstance(self._route, ReverseRoute) else 0

    def release(self) -> None:
        """Drop the kept graphs."""
        if isinstance(self._route, ReverseRoute):
            self._route.release()

    def add_products(self, direction: Vector, product: Vector) -> int:
        """See `SpaceOperator.add_products`, with M_b = H_b the Hessian of a batch's loss sum."""
        self.choose()
        assert self._route is not None
        return self._route.add_products(direction, product)
