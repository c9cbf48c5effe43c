"""Curvature as a linear operator: matrix-vector products with the Hessian of an objective in a parameter space.

    H v = d/dtheta <dL/dtheta, v>,        P H P v in the tangent space,

by double backward, one batch at a time, weighted by tokens as the objective is. Algorithms see only the protocol
`CurvatureOperator` and know nothing of models. The graph of a batch's gradient may be kept and used for every product,
which saves building it anew (1.9 instead of 2.9 gradients a product) at the price of holding its intermediate
tensors; how many bytes may be held is the caller's choice. Fused attention has no second derivative, so products are
taken with PyTorch's plain attention kernel; an operation that has none at all is named in the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis import vectors
from analysis.errors import SecondDerivativeError
from analysis.objective import Objective
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector

_BLOCKED = ("is not implemented", "does not support double backward", "not differentiable")


class CurvatureOperator(Protocol):
    """A linear map on vectors of a space; all that an algorithm may know of a model.

    Attributes:
        dimension: Number of independent directions.
        symmetric: Whether <x, M y> = <M x, y>.
        products: How many products were taken so far.
    """

    symmetric: bool
    products: int

    @property
    def dimension(self) -> int:
        """Number of independent directions."""
        ...

    def matvec(self, vector: Sequence[Tensor]) -> Vector:
        """Return M v; blocks keep shape, type and device."""
        ...

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        """Return a random vector from the operator's domain."""
        ...


@dataclass(frozen=True, eq=False)
class _GradientGraph:
    """The gradient of one batch's loss sum, with the graph that differentiates it again."""

    gradients: list[Tensor]
    indices: list[int]
    tokens: int
    saved_bytes: int
    versions: tuple[int, ...]


class HessianOperator:
    """The Hessian of an objective in a parameter space, by double backward.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates. Each product enters it; run many inside `with space:`, since entering the lora
            space writes the factors, and a graph is not used again after a weight was written.
        graph_budget_bytes: How many bytes of saved tensors may be kept between products; batches are kept
            in order while they fit, and the others are rebuilt for each product. 0 keeps nothing.
    """

    symmetric = True

    def __init__(self, objective: Objective, space: ParameterSpace, *, graph_budget_bytes: int = 2**30) -> None:
        self.objective = objective
        self.space = space
        self.graph_budget_bytes = graph_budget_bytes
        self.products = 0
        self._kept: dict[int, _GradientGraph] = {}
        self._checked = False

    @property
    def dimension(self) -> int:
        """Number of independent directions of the space."""
        return self.space.dimension

    @property
    def kept_bytes(self) -> int:
        """Bytes of saved tensors that are held between products."""
        return sum(graph.saved_bytes for graph in self._kept.values())

    def release(self) -> None:
        """Drop the kept graphs."""
        self._kept.clear()

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        """Return a standard normal vector of the space."""
        return self.space.random_direction(seed=seed, stream=stream)

    def matvec(self, vector: Sequence[Tensor]) -> Vector:
        """Return H v, in the tangent space P H P v.

        Raises:
            SecondDerivativeError: An operation of the model has no second derivative.
            ObjectiveError: The loss is not finite or counts no token.
        """
        with self.space, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), _naming_the_operation():
            direction = self.space.project(vector)
            product = vectors.zeros_like(self.space.tensors)
            tokens = 0
            for index in range(len(self.objective.batches)):
                tokens += self._add_batch_product(index, direction, product)
            mean = 1.0 / self.objective.checked_tokens(tokens)
            self.products += 1
            return self.space.project([block.mul_(mean) for block in product])

    def _add_batch_product(self, index: int, direction: Vector, product: Vector) -> int:
        """Add one batch's product with the Hessian of its loss sum to `product`, and return its token count."""
        graph = self._graph(index)
        if graph.gradients:
            parts = torch.autograd.grad(
                graph.gradients,
                list(self.space.tensors),
                grad_outputs=[direction[i].to(g.dtype) for i, g in zip(graph.indices, graph.gradients, strict=True)],
                retain_graph=index in self._kept,
                allow_unused=True,
            )
            for block, part in zip(product, parts, strict=True):
                if part is not None:
                    block += part
        return graph.tokens

    def _graph(self, index: int) -> _GradientGraph:
        """Return the gradient graph of a batch, kept from an earlier product if no weight was written since."""
        versions = tuple(parameter._version for parameter in self.space.model.parameters())
        kept = self._kept.get(index)
        if kept is not None and kept.versions == versions:
            return kept
        self._kept.pop(index, None)
        graph = self._build_graph(index, versions)
        if graph.saved_bytes <= self.graph_budget_bytes - self.kept_bytes:
            self._kept[index] = graph
        return graph

    def _build_graph(self, index: int, versions: tuple[int, ...]) -> _GradientGraph:
        with _counting_saved_bytes(self.space.tensors) as saved:
            total, tokens = self.objective.batch_loss(index)
            gradients = torch.autograd.grad(total, list(self.space.tensors), create_graph=True, allow_unused=True)
        if not self._checked:
            _check_differentiable_twice(gradients)
            self._checked = True
        # A parameter that enters linearly, or not at all, has a gradient without a graph: its rows of H are zero.
        curved = [i for i, gradient in enumerate(gradients) if gradient is not None and gradient.requires_grad]
        return _GradientGraph([gradients[i] for i in curved], curved, tokens, sum(saved.values()), versions)


def _check_differentiable_twice(gradients: Sequence[Tensor | None]) -> None:
    """Refuse a gradient that passed through a function marked once_differentiable.

    Autograd raises for such a function only if it has to pass through it, and the mark has cut it off from the
    parameters: a product would silently lack that function's share.
    """
    found = [gradient.grad_fn for gradient in gradients if gradient is not None and gradient.grad_fn is not None]
    seen = set(found)
    while found:
        node = found.pop()
        if node.name().endswith("::Error"):
            raise SecondDerivativeError(
                "no second derivative: a custom autograd function is marked once_differentiable; replace it by one "
                "that can be differentiated twice (fused kernels usually have a switch)"
            )
        following = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= following
        found += following


@contextmanager
def _counting_saved_bytes(weights: Sequence[Tensor]) -> Iterator[dict[int, int]]:
    """Collect, by storage address, the bytes of what autograd saves, the weights themselves left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in weights}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


@contextmanager
def _naming_the_operation() -> Iterator[None]:
    """Turn autograd's complaint about a missing second derivative into one that names operation and way out."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not any(phrase in text for phrase in _BLOCKED):
            raise
        named = re.search(r"aten::\w+", text)
        operation = named.group() if named else text.splitlines()[0]
        raise SecondDerivativeError(
            f"no second derivative: {operation}; load the model with attn_implementation='eager' if this is an "
            "attention kernel, otherwise replace the operation by one that can be differentiated twice"
        ) from error
