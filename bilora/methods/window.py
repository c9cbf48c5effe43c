"""The micro-batches of one optimizer step, which a method may run again at other weights.

Two-pass methods need the whole effective batch a second time, with the dropout masks of the first pass; others need
its loss without a gradient, or the losses of its examples, or gradients over some of its examples only. A `Window`
offers exactly that and counts what it costs. Who drives a method makes the window: `LoopWindow` serves a plain loop,
`bilora.trainer` has one of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bilora.methods.options import MethodError
from bilora.ranks import joined_over_ranks, mean_over_ranks, world_size


@dataclass
class Cost:
    """What a method has spent: passes over effective batches, a part of a batch counting as that part.

    Attributes:
        gradients: Forward and backward passes.
        forwards: Forward passes alone.
    """

    gradients: float = 0.0
    forwards: float = 0.0


class Window(ABC):
    """The micro-batches of one optimizer step.

    Args:
        cost: Where passes are counted.
        share: What part of the effective batch the window is (1, unless a method treats micro-batches singly).
        loss_scaled: Whether a gradient scaler multiplies the losses, so that gradients stand in `.grad` times a factor
            that changes while training, and may have overflowed.
        alone: Whether each of several ranks takes its part of the batch for the whole, see `Method.alone`.
    """

    def __init__(self, cost: Cost, *, share: float = 1.0, loss_scaled: bool = False, alone: bool = False) -> None:
        self.alone = alone
        self.cost = cost
        self.share = share
        self.loss_scaled = loss_scaled

    def require_true_gradients(self, reason: str) -> None:
        """Refuse scaled losses on behalf of a method that needs gradients as they are.

        Raises:
            MethodError: If the losses are scaled; the message gives `reason`.
        """
        if self.loss_scaled:
            raise MethodError(f"{reason}, but fp16 training scales the loss; train in bf16 (bf16=True) or fp32")

    def joined(self, values: Tensor) -> tuple[Tensor, slice]:
        """Return one number per example (n,) of all ranks that share the window, and where this rank's lie in it."""
        return (values, slice(0, len(values))) if self.alone else joined_over_ranks(values)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a number over all ranks that share the window."""
        return value if self.alone else mean_over_ranks(value)

    @abstractmethod
    def replay(self, kept: Sequence[Tensor] | None = None) -> None:
        """Zero the gradients and run all passes again at the present weights, with the first pass's dropout masks.

        Args:
            kept: For each micro-batch a boolean mask (examples,): the loss is the mean over the kept examples
                alone. None keeps all. A micro-batch of which nothing is kept is skipped. Over a part of the examples
                dropout masks are other ones than in the first pass, since they are drawn for another shape.
        """

    @abstractmethod
    def loss(self) -> Tensor:
        """Return the mean loss at the present weights (a scalar), without gradients, with the first pass's masks.

        The mean is over all ranks' examples. May be called before the first pass.
        """

    @abstractmethod
    def example_losses(self) -> list[Tensor]:
        """Return each micro-batch's example losses (examples,) at the present weights, as `loss` does."""

    @abstractmethod
    def first_example_losses(self) -> list[Tensor]:
        """Return the example losses of the first pass, for methods that set `needs_example_losses`."""


class LoopWindow(Window):
    """The effective batch of a plain training loop, given as functions.

    Args:
        cost: Where passes are counted.
        forward_backward: Runs forward and backward over the effective batch; returns the loss, or the loss and the
            losses (examples,). Called with a boolean mask (examples,) if a method selects examples.
        zero_gradients: Drops all gradients.
        loss: Returns the mean loss of the effective batch, or of this rank's part, without touching gradients.
        example_losses: Returns the losses (examples,) of its examples likewise.
        share: See `Window`.
        alone: See `Window`.
    """

    def __init__(
        self,
        cost: Cost,
        forward_backward: Callable[..., Tensor | tuple[Tensor, Tensor]],
        zero_gradients: Callable[[], None],
        *,
        loss: Callable[[], Tensor] | None = None,
        example_losses: Callable[[], Tensor] | None = None,
        share: float = 1.0,
        alone: bool = False,
    ) -> None:
        super().__init__(cost, share=share, alone=alone)
        self._forward_backward = forward_backward
        self._zero_gradients = zero_gradients
        self._loss = loss
        self._example_losses = example_losses
        self._first: list[Tensor] = []
        self._state = random_state()

    def first_pass(self, *, with_example_losses: bool) -> Tensor:
        """Run the first pass and return its loss."""
        self._state = random_state()
        result = self._forward_backward()
        loss, *self._first = result if isinstance(result, tuple) else (result,)
        self.cost.gradients += self.share
        if with_example_losses and not self._first:
            self._first = self.example_losses()
        return loss

    def replay(self, kept: Sequence[Tensor] | None = None) -> None:
        """See `Window.replay`.

        Raises:
            MethodError: If examples are left out of a batch that ranks share.
        """
        if kept is not None and not self.alone and world_size() > 1:
            raise MethodError(
                "a method that leaves examples out has another number of them on every rank, which a loop's own mean "
                "does not weigh; train with SharpnessTrainer, or on one rank"
            )
        self._zero_gradients()
        with replaying(self._state), torch.enable_grad():
            if kept is None:
                self._forward_backward()
            elif kept[0].any():
                self._forward_backward(kept[0])
        self.cost.gradients += self.share * (1.0 if kept is None else float(kept[0].float().mean()))

    def loss(self) -> Tensor:
        """See `Window.loss`.

        Raises:
            MethodError: If the loop gave no function for it.
        """
        if self._loss is None:
            raise MethodError("this method needs the loss alone: pass loss=FUNCTION to Method.gradients")
        self.cost.forwards += self.share
        with replaying(self._state), torch.no_grad():
            return self.mean(self._loss())

    def example_losses(self) -> list[Tensor]:
        """See `Window.example_losses`.

        Raises:
            MethodError: If the loop gave no function for it.
        """
        if self._example_losses is None:
            raise MethodError(
                "this method needs the losses of single examples: pass example_losses=FUNCTION to Method.gradients"
            )
        self.cost.forwards += self.share
        with replaying(self._state), torch.no_grad():
            return [self._example_losses()]

    def first_example_losses(self) -> list[Tensor]:
        """See `Window.first_example_losses`."""
        return self._first


def random_state() -> list[Tensor]:
    """Return the state of torch's global generators (CPU, and every CUDA device in use)."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return states


def set_random_state(states: list[Tensor]) -> None:
    """Set what `random_state` returned, so that dropout draws the same masks again."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])


@contextmanager
def replaying(states: list[Tensor]) -> Iterator[None]:
    """Draw from the given state inside the context, and go on afterwards as if nothing had been drawn."""
    after = random_state()
    set_random_state(states)
    try:
        yield
    finally:
        set_random_state(after)
