"""Hessian products by double backward, one batch at a time.

    H v = d/dtheta <dL/dtheta, v>

The graph of a batch's gradient may be kept and used for every product, which saves building it anew at the price of
holding its intermediate tensors; how many bytes may be held is the caller's choice. Weights of linear layers take part
without their gradients being formed (`analysis.operators.virtual_linear`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from analysis.objective import Objective
from analysis.operators.attention import differentiable_attention
from analysis.operators.blocked import check_differentiable_twice, naming_the_operation, refuse_fused_attention
from analysis.operators.virtual_linear import VirtualWeights, virtual_linears
from analysis.sharding import is_sharded, local
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


@dataclass(frozen=True, eq=False)
class _GradientGraph:
    """The gradient of one batch's loss sum, with the graph that differentiates it again.

    The last gradient is that of the anchor, whose index is the number of blocks.
    """

    gradients: list[Tensor]
    indices: list[int]
    tokens: int
    saved_bytes: int
    weights: tuple[float, ...]


class ReverseRoute:
    """Double backward.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates.
        graph_budget_bytes: How many bytes of saved tensors may be kept between products; batches are kept
            in order while they fit, and the others are rebuilt for each product. 0 keeps nothing.
    """

    name = "reverse"

    def __init__(self, objective: Objective, space: ParameterSpace, *, graph_budget_bytes: int) -> None:
        self.objective = objective
        self.space = space
        # A graph that is kept would hold whole matrices.
        self.graph_budget_bytes = 0 if is_sharded(space.tensors) else graph_budget_bytes
        self._kept: dict[int, _GradientGraph] = {}
        self._virtual = VirtualWeights(
            anchor=torch.zeros((), device=local(space.tensors[0]).device, requires_grad=True)
        )
        self._checked = False

    @property
    def kept_bytes(self) -> int:
        """Bytes of saved tensors that are held between products."""
        return sum(graph.saved_bytes for graph in self._kept.values())

    def release(self) -> None:
        """Drop the kept graphs."""
        self._kept.clear()

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Add every batch's product with the Hessian of its loss sum to `product`, and return the token count."""
        if not self._checked:
            refuse_fused_attention(self.space.model)
        tokens = 0
        self._virtual.direction, self._virtual.product = direction, product
        try:
            # Fused attention has no second derivative, the plain kernel has.
            with (
                naming_the_operation(self.name),
                differentiable_attention(),
                virtual_linears(self.space, self._virtual),
            ):
                weights = self._weights()
                for index, weight in self.objective.passes():
                    tokens += self._add_batch(index, direction, product, weights, weight)
        finally:
            self._virtual.direction, self._virtual.product = (), ()
        return tokens

    def _add_batch(
        self, index: int, direction: Vector, product: Vector, weights: tuple[float, ...], weight: float
    ) -> int:
        graph = self._graph(index, weights, weight)
        if not graph.gradients:
            return graph.tokens
        tensors = [*self.space.tensors, self._virtual.anchor]
        parts = torch.autograd.grad(
            graph.gradients,
            tensors,
            grad_outputs=[
                direction[i].to(g.dtype) if i < len(direction) else torch.ones_like(g)
                for i, g in zip(graph.indices, graph.gradients, strict=True)
            ],
            retain_graph=index in self._kept,
            allow_unused=True,
        )
        for block, part in zip(product, parts[:-1], strict=True):
            if part is not None:
                block += part
        return graph.tokens

    def _weights(self) -> tuple[float, ...]:
        """Return what tells whether a weight was written since a graph was kept.

        Version counters, and norms too: PyTorch's fused optimizers write without counting.
        """
        held = [local(tensor).detach() for tensor in (*self.space.model.parameters(), *self.space.tensors)]
        versions = tuple(float(tensor._version) for tensor in held)
        if self.graph_budget_bytes == 0 or (self._checked and not self._kept):
            return versions  # nothing is kept, or nothing fits
        wide = [tensor for tensor in held if tensor.is_floating_point()]
        norms = torch.stack([norm.double().to(held[0].device) for norm in torch._foreach_norm(wide)])
        return (*versions, *norms.tolist())

    def _graph(self, index: int, weights: tuple[float, ...], weight: float) -> _GradientGraph:
        """Return the gradient graph of a batch, kept from an earlier product if no weight was written since."""
        kept = self._kept.get(index)
        if kept is not None and kept.weights == weights:
            return kept
        self._kept.pop(index, None)
        graph = self._build_graph(index, weights, weight)
        if 0 < graph.saved_bytes <= self.graph_budget_bytes - self.kept_bytes:
            self._kept[index] = graph
        return graph

    def _build_graph(self, index: int, weights: tuple[float, ...], weight: float) -> _GradientGraph:
        tensors = [*self.space.tensors, self._virtual.anchor]
        with _counting_saved_bytes(tensors, wanted=self.graph_budget_bytes > 0) as saved:
            total, tokens = self.objective.batch_loss(index)
            gradients = torch.autograd.grad(weight * total, tensors, create_graph=True, allow_unused=True)
        if not self._checked:
            check_differentiable_twice(gradients)
            self._checked = True
        # A parameter that enters linearly, or not at all, has a gradient without a graph: its rows of H are zero.
        curved = [i for i, gradient in enumerate(gradients) if gradient is not None and gradient.requires_grad]
        counted = int(weight) * tokens
        return _GradientGraph([gradients[i] for i in curved], curved, counted, sum(saved.values()), weights)


@contextmanager
def _counting_saved_bytes(weights: list[Tensor], *, wanted: bool) -> Iterator[dict[int, int]]:
    """Collect, by storage address, the bytes of what autograd saves, the weights themselves left out.

    Nothing is counted, and nothing is slowed down, if the number is not wanted.
    """
    own = {local(tensor).untyped_storage().data_ptr() for tensor in weights}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor) if wanted else nullcontext():
        yield saved
