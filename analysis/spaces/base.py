"""What every parameter space shares: its leaves, entering and leaving, moving along a vector, lengths.

A space is a set of coordinates in which flatness is measured, and the map from them to the model's weights. While it
is entered, its tensors are the only parameters that require a gradient, and they may hold other values of the same
function (another gauge); leaving it writes the saved bits and flags back, whatever happened in between. Moving is
done by writing weights and writing the saved ones back, never by adding and subtracting. The length of a move is
always that of the change of the weight matrices, so that one radius means one thing in all spaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from analysis import vectors
from analysis.errors import DirectionError, SpaceError
from analysis.sharding import local
from analysis.vectors import Vector

WIDE_TYPES = (torch.float32, torch.float64)


@contextmanager
def differentiating(model: nn.Module, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Let exactly `tensors` require a gradient, and restore every parameter's own flag afterwards."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    wanted = {id(tensor) for tensor in tensors}
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(id(parameter) in wanted)
        yield
    finally:
        for parameter, required in flags:
            parameter.requires_grad_(required)


class ParameterSpace:
    """Coordinates in which flatness is measured.

    A vector of the space is a list of tensors, one block per entry of `tensors` and of the same shapes. Use the space
    as a context manager, which may be nested; values and gradients are taken inside.

    Args:
        model: The model that holds the tensors.
        blocks: Name and parameter, of any shape, of each block.

    Attributes:
        name: As `parameter_space` knows it.
        names: The blocks' names; random draws depend on them.
        tensors: The parameters to differentiate.

    Raises:
        SpaceError: No block, one parameter twice, or a parameter that is not of a floating type.
    """

    name: str

    def __init__(self, model: nn.Module, blocks: Mapping[str, Tensor]) -> None:
        if not blocks:
            raise SpaceError(f"the {self.name} space of this model is empty")
        if len({id(tensor) for tensor in blocks.values()}) < len(blocks):
            raise SpaceError(f"the {self.name} space holds one parameter twice; name each parameter once")
        for name, tensor in blocks.items():
            if not tensor.is_floating_point():
                raise SpaceError(
                    f"{name} is {tensor.dtype}, which has no gradient (a quantised base?); leave it out, or name "
                    "the layer with layer:NAME"
                )
        self.model = model
        self.names = tuple(blocks)
        self.tensors = tuple(blocks.values())
        self._stack = ExitStack()
        self._depth = 0

    @property
    def dimension(self) -> int:
        """Number of independent directions."""
        return sum(tensor.numel() for tensor in self.tensors)

    def __enter__(self) -> Self:
        """Enter the space; nested entries do nothing."""
        if self._depth == 0:
            with ExitStack() as stack:
                stack.enter_context(differentiating(self.model, self.tensors))
                stack.enter_context(self._gauge())
                self._stack = stack.pop_all()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the space; the outermost exit restores bits and flags."""
        self._depth -= 1
        if self._depth == 0:
            self._stack.close()

    def _gauge(self) -> AbstractContextManager[None]:
        """Return a context in which the tensors hold the values that the space is defined by."""
        return nullcontext()

    def project(self, vector: Sequence[Tensor]) -> Vector:
        """Return the orthogonal projection of a vector onto the space's directions, a vector of the space.

        Args:
            vector: Blocks of the shapes of `tensors`.
        """
        return list(vector)

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        """Return a standard normal vector of the space, see `vectors.random`: one for all models of these blocks.

        Args:
            seed: Seed shared by all that is drawn for one measurement.
            stream: Name of the draw; other names give independent vectors.
        """
        return self.project(vectors.random(self.tensors, self.names, seed=seed, stream=stream))

    def merged_weights(self) -> Iterator[Tensor]:
        """Yield the weights W (m, n) that the coordinates stand for, one at a time, detached, in the working type."""
        for tensor in self.tensors:
            yield tensor.detach().to(vectors.working_dtype(tensor.dtype))

    def row_norms(self) -> list[Tensor]:
        """Return, per block, the norms (m,) of the rows of the weights; a block without rows counts as one row."""
        return [
            torch.linalg.vector_norm(t.detach().reshape(len(t) if t.dim() > 1 else 1, -1), dim=1) for t in self.tensors
        ]

    def modules(self) -> Iterator[nn.Module]:
        """Yield every module that may hold a tensor of the space."""
        yield from self.model.modules()

    def holders(self) -> list[tuple[nn.Module, str, int]]:
        """Return (module, attribute, block) wherever a block's tensor is held; a tied one is held several times."""
        block = {id(tensor): index for index, tensor in enumerate(self.tensors)}
        return [
            (module, attribute, block[id(held)])
            for module in self.modules()
            for attribute, held in module._parameters.items()
            if id(held) in block
        ]

    def displacement_norm(self, vector: Sequence[Tensor]) -> float:
        """Return ||dW||_F = sqrt(sum_l ||dW_l||_F^2), the change of the weight matrices when the tensors move.

        The move starts at the unmoved weights, so neither this nor `scale_to_radius` is to be called while displaced.

        Args:
            vector: By how much they move, a vector of the space.
        """
        return vectors.norm(vector)

    def scale_to_radius(self, vector: Sequence[Tensor], radius: float) -> float:
        """Return the smallest t >= 0 with displacement_norm(t vector) = radius.

        Args:
            vector: A vector of the space.
            radius: Wanted length ||dW||_F, positive.

        Raises:
            DirectionError: The vector does not move the weights.
        """
        length = vectors.norm(vector)
        if length == 0.0:
            raise DirectionError(f"the direction is zero in the {self.name} space; no multiple has norm {radius}")
        return radius / length

    @contextmanager
    def displaced(self, vector: Sequence[Tensor], scale: float = 1.0) -> Iterator[None]:
        """Context in which the tensors are moved by scale * vector; the saved bits are written back at its end.

        Args:
            vector: A vector of the space.
            scale: Its multiple.

        Raises:
            SpaceError: The weights are too narrow to hold a small move.
        """
        with self:
            self.check_wide()
            held = [local(tensor).detach() for tensor in self.tensors]
            saved = [tensor.clone() for tensor in held]
            try:
                with torch.no_grad():
                    for tensor, origin, step in zip(held, saved, vector, strict=True):
                        tensor.copy_(torch.add(origin, local(step), alpha=scale))
                yield
            finally:
                with torch.no_grad():
                    for tensor, origin in zip(held, saved, strict=True):
                        tensor.copy_(origin)

    def check_wide(self) -> None:
        """Refuse weights in which a small change would be rounded away.

        Raises:
            SpaceError: A block is narrower than float32.
        """
        for name, tensor in zip(self.names, self.tensors, strict=True):
            if tensor.dtype not in WIDE_TYPES:
                raise SpaceError(
                    f"{name} is {tensor.dtype}, in which a small change of the weights is rounded away; load the "
                    "model with dtype=torch.float32"
                )
