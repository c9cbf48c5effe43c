"""Moving trained weights for a while, and bringing every bit of them back.

Values are saved and copied back into the parameters' own storage: rebinding `.data` would break flattened or shared
views, and subtracting what was added would leave rounding behind.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from bilora.devices import scaled
from bilora.methods.base import Method
from bilora.methods.window import Window
from bilora.shards import local, local_all


@contextmanager
def parameters_restored(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield copies of `parameters`, as far as they are here, and write them back, bit for bit, on the way out."""
    held = local_all(parameters)
    saved = [p.clone() for p in held]
    try:
        yield saved
    finally:
        with torch.no_grad():
            torch._foreach_copy_(held, saved)


@contextmanager
def perturbed(
    method: Method, parameters: Sequence[nn.Parameter], direction: Sequence[Tensor], scale: Tensor | float = 1.0
) -> Iterator[None]:
    """Move some of the method's trained weights by scale * direction inside the context; logs `perturbation_norm`.

    Args:
        method: An attached method; the norm in weight space is taken by its `weights`.
        parameters: Which of `method.weights.parameters` move.
        direction: One tensor for each; of a sharded weight the rows that are here.
        scale: Factor of all of them.
    """
    with parameters_restored(parameters) as saved:
        copies = {id(p): copy for p, copy in zip(parameters, saved, strict=True)}
        before = [copies.get(id(p), local(p)) for p in method.weights.parameters]
        with torch.no_grad():
            # The products have no name, so that they are gone before the next pass needs its memory.
            torch._foreach_add_(local_all(parameters), scaled(direction, scale))
            method.means.add("perturbation_norm", method.weights.displacement_norm(before))
        yield


class OnePassPerturbation(Method):
    """A method whose one gradient is taken at weights perturbed before the first forward pass.

    A subclass says where (`perturbation`) and may look at the gradient of the whole effective batch (`observe`) once
    the weights are back.
    """

    def __init__(self, options: object = None) -> None:
        super().__init__(options)  # type: ignore[arg-type]
        self._moved = ExitStack()

    @abstractmethod
    def perturbation(self, window: Window) -> tuple[list[nn.Parameter], list[Tensor], Tensor | float] | None:
        """Return which trained weights move, along what, and by what factor; None for a step without perturbation.

        Of sharded weights the direction is the rows that are here, see `bilora.shards`.
        """

    def observe(self) -> None:
        """Look at the gradients of the effective batch, the weights being restored."""

    def before_backward(self, window: Window) -> None:
        """Perturb."""
        super().before_backward(window)
        with torch.no_grad():
            move = self.perturbation(window)
        if move is not None:
            self._moved.enter_context(perturbed(self, *move))

    @torch.no_grad()
    def refine_gradients(self, window: Window) -> None:
        """Restore, then observe."""
        self._moved.close()
        self.observe()

    def abandon_step(self) -> None:
        """Restore."""
        super().abandon_step()
        self._moved.close()
