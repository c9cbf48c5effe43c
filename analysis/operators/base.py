"""What every curvature operator is, and what those of an objective in a space share.

Algorithms see only the protocol `CurvatureOperator` and know nothing of models. An operator of a space is a mean over
the counted tokens, P (sum_b M_b / sum_b N_b) P with P the projector of the space, so that unequal batches and ignored
labels weigh as they do in the loss; subclasses add one batch's M_b v at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from analysis import ranks, vectors
from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.sharding import is_sharded, like, local
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


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
        """Return M v; blocks keep shape, type and device.

        Args:
            vector: v, a vector of the domain: one block per parameter, of its shape.
        """
        ...

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        """Return a random vector of the domain, its entries standard normal.

        Args:
            seed: Seed shared by all that is drawn for one measurement.
            stream: Name of the draw; other names give independent vectors.
        """
        ...


class SpaceOperator:
    """A symmetric operator that is a token-weighted mean over the batches of an objective.

    Args:
        objective: The token-weighted mean loss.
        space: The coordinates. Each product enters it; run many inside `with space:`, since entering a space of
            factors writes them.
        vector_dtype: Type of products and of random directions; None takes float32 or the weights' wider type. With
            torch.bfloat16 a vector of a large model takes half the memory, and random directions are drawn on the
            weights' device, where 10^9 numbers take milliseconds instead of seconds.
    """

    symmetric = True

    def __init__(self, objective: Objective, space: ParameterSpace, *, vector_dtype: torch.dtype | None = None) -> None:
        self.objective = objective
        self.space = space
        self.vector_dtype = vector_dtype
        self.products = 0
        self._tokens: int | None = None

    @property
    def dimension(self) -> int:
        """Number of independent directions of the space."""
        return self.space.dimension

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        """See `CurvatureOperator.random_direction`; of the weights' subspace, its projection."""
        if self.vector_dtype is None:
            return self.space.random_direction(seed=seed, stream=stream)
        with self.space:
            tensors, names = self.space.tensors, self.space.names
            drawn = vectors.random_on_device(tensors, names, seed=seed, stream=stream, dtype=self.vector_dtype)
            return self.space.project(drawn)

    def matvec(self, vector: Sequence[Tensor]) -> Vector:
        """Return M v, projected onto the space's directions: a vector of the space.

        Args:
            vector: v, a vector of the space.

        Raises:
            SecondDerivativeError: An operation of the model lacks a derivative that the route needs.
            ObjectiveError: The loss is not finite or counts no token.
        """
        with self.space, torch.enable_grad():
            direction = self.space.project(vector)
            wanted = [self.vector_dtype or vectors.working_dtype(t.dtype) for t in self.space.tensors]
            product = [
                like(t, torch.zeros_like(local(t), dtype=dtype, requires_grad=False))
                for t, dtype in zip(self.space.tensors, wanted, strict=True)
            ]
            tokens = self.objective.add_over_ranks(product, self.add_products(direction, product))
            self._tokens = self.objective.checked_tokens(tokens)
            for block in product:
                local(block).mul_(1.0 / self._tokens)
            self.products += 1
            return self.space.project(product)

    def accumulate(self, vector: Sequence[Tensor], onto: Vector, *, scale: float) -> None:
        """Replace `onto` by M v + scale * onto, without memory for a product of its own.

        Args:
            vector: v.
            onto: A vector of the space, in the type of products; overwritten.
            scale: Any number.

        Raises:
            SettingsError: No product was taken before, whose tokens it is weighed by.
        """
        if self._tokens is None:
            raise SettingsError("accumulate weighs by the tokens that a product has counted; call matvec once first")
        with self.space, torch.enable_grad():
            direction = self.space.project(vector)
            # What every rank holds of a vector that is not sharded goes into the sum over ranks once.
            counts = not self.objective.shared or is_sharded(onto) or ranks.rank() == 0
            for block in onto:
                local(block).mul_(scale * self._tokens if counts else 0.0)
            self.objective.add_over_ranks(onto, self.add_products(direction, onto))
            self.products += 1
            for block, projected in zip(onto, self.space.project(onto), strict=True):
                torch.mul(local(projected), 1.0 / self._tokens, out=local(block))

    def add_products(self, direction: Vector, product: Vector) -> int:
        """Return the number of tokens of this rank's batches, and add every batch's M_b v to a product, in place.

        Args:
            direction: v, a vector of the space.
            product: A vector of the space, in the type of products.
        """
        raise NotImplementedError
