"""What a training method is: the moments of an optimizer step at which it may act.

A method decides how adapters are attached and what is thrown away at the end (`bilora.methods.attachment`), which
parameters are trained in which group, what gradient an optimizer step gets, and what happens around the step. It
knows no Trainer: the same object is driven by `bilora.trainer.SharpnessMixin`, or by a plain loop through
`Method.gradients` and `bilora.optimizer.build_optimizer`.

The moments of one optimizer step, over one or more micro-batches:

1. `before_backward(window)` - before the first forward pass of the effective batch;
2. forward and backward passes of all micro-batches, run by whoever drives the method;
3. `refine_gradients(window)` - gradients of the effective batch stand in `.grad`; a two-pass method perturbs,
   calls `window.replay()` and restores;
4. `before_step()` - inside the optimizer, before gradients are clipped;
5. the optimizer's step;
6. `after_step()` - for example Bi-LoRA's projection.

If a pass raises, `abandon_step` puts perturbed weights back.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bilora.methods.attachment import Attachment
from bilora.methods.means import RunningMeans
from bilora.methods.options import MethodError, MethodOptions
from bilora.methods.window import Cost, LoopWindow, Window
from bilora.ranks import average, world_size


class Method(Attachment, ABC):
    """One training rule. Subclasses are registered by name in `bilora.methods.registry`.

    Args:
        options: An instance of the method's `options_class`; None takes the defaults.

    Attributes:
        options: The options.
        means: Means over the steps since they were last logged, by name.
        cost: Passes so far, the method's cost in gradients.
        steps: Optimizer steps taken.
        total_steps: Optimizer steps planned, for methods with a schedule; a driver that knows sets it.
    """

    def __init__(self, options: MethodOptions | None = None) -> None:
        self.options = self.options_class() if options is None else options
        self.means = RunningMeans()
        self.cost = Cost()
        self.steps = 0
        self.total_steps: int | None = None
        self._optimizer: Optimizer | None = None

    def parameter_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups; here one, of all trained weights.

        Args:
            learning_rate: Peak learning rate of the primary group.
            weight_decay: Decoupled weight decay of the primary group.
        """
        return [{"params": self.weights.parameters, "lr": learning_rate, "weight_decay": weight_decay}]

    def bind(self, optimizer: Optimizer, *, total_steps: int | None = None) -> None:
        """Learn which optimizer takes the steps, and how many it will take.

        Args:
            optimizer: Made of the method's parameter groups.
            total_steps: How many; None if that is not known.
        """
        self._optimizer = optimizer
        if total_steps is not None:
            self.total_steps = total_steps

    @property
    def primary_group(self) -> dict[str, Any]:
        """The optimizer's first parameter group, with its present learning rate in `lr`."""
        if self._optimizer is None:
            raise MethodError(f"method {self.name!r} has no optimizer yet; make it with bilora.build_optimizer")
        group: dict[str, Any] = self._optimizer.param_groups[0]
        return group

    @property
    def progress(self) -> float:
        """Share of the planned optimizer steps that are taken, in [0, 1].

        Raises:
            MethodError: If nobody said how many there will be.
        """
        if not self.total_steps:
            raise MethodError(
                f"method {self.name!r} follows a schedule and needs the number of optimizer steps: pass "
                "total_steps=N to bilora.build_optimizer, or choose a constant schedule"
            )
        return min(self.steps / self.total_steps, 1.0)

    def before_backward(self, window: Window) -> None:
        """Act before the first forward pass of an effective batch.

        Args:
            window: The effective batch, and its passes.
        """

    def refine_gradients(self, window: Window) -> None:
        """Replace the gradients of the effective batch.

        Args:
            window: The effective batch, whose passes can be run again.
        """

    def abandon_step(self) -> None:
        """Put back what `before_backward` changed, since a pass has failed."""

    def before_step(self) -> None:
        """Act in front of the optimizer's step, on unscaled gradients that are not clipped yet."""

    def after_step(self) -> None:
        """Act after the optimizer's step."""

    @property
    def alone(self) -> bool:
        """Whether each of several ranks perturbs its own weights, by gradients that are not synchronised before."""
        return self.scope != "step" and world_size() > 1

    def own_vectors(self) -> list[Tensor]:
        """Return what a step holds beside gradients that is this rank's own, if ranks perturb alone; of any shapes."""
        return []

    def average_over_ranks(self) -> None:
        """Average the gradients, and what else of a step is this rank's own, over ranks that perturbed alone."""
        if self.alone:
            average([p.grad for p in self.trained_parameters() if p.grad is not None])
            average(self.own_vectors())

    def extra_memory(self) -> int:
        """Return the bytes this method holds at its peak beyond plain LoRA: copies, directions, auxiliary factors."""
        return 0

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a resumed run needs beyond the exported adapter and the optimizer's state.

        Returns:
            Tensors of any shape by name; here the passes run so far, `cost` (2,), and the steps taken, a scalar.
        """
        return {
            "cost": torch.tensor([self.cost.gradients, self.cost.forwards], dtype=torch.float64),
            "steps": torch.tensor(self.steps),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back a state.

        Args:
            state: Tensors by name, in the shapes in which `state_dict` returned them.
        """
        self.cost.gradients, self.cost.forwards = state["cost"].tolist()
        self.steps = int(state["steps"])

    def gradients(
        self,
        forward_backward: Callable[..., Tensor | tuple[Tensor, Tensor]],
        *,
        loss: Callable[[], Tensor] | None = None,
        example_losses: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        """Put the gradients of one optimizer step into `.grad`, for loops without a Trainer.

        Args:
            forward_backward: Runs forward and backward over the whole effective batch and returns the loss. A
                method that selects examples calls it with a boolean mask (examples,), and saves a forward pass if
                it returns the loss and the losses (examples,).
                Gradients must be zero (or None) before the call; with `sam_scope="micro-batch"` call this once
                per micro-batch, and gradients add up. With this scope and with "rank" it must not synchronise (run
                it under `DistributedDataParallel.no_sync`): the gradients are averaged here.
            loss: Returns the mean loss alone; only zeroth-order methods ask for it.
            example_losses: Returns the losses (examples,) of the effective batch; only methods that select examples
                ask for it.

        Returns:
            The loss of the first pass, a scalar.
        """
        window = LoopWindow(
            self.cost,
            forward_backward,
            self.zero_gradients,
            loss=loss,
            example_losses=example_losses,
            alone=self.alone,
        )
        with self.gradients_added():
            self.before_backward(window)
            try:
                first = window.first_pass(with_example_losses=self.needs_example_losses)
                self.refine_gradients(window)
                self.average_over_ranks()
            except BaseException:
                self.abandon_step()
                raise
        return first

    @contextmanager
    def gradients_added(self) -> Iterator[None]:
        """Context in which a method of micro-batch scope sees its gradients alone; they are added to earlier ones."""
        if self.scope != "micro-batch":
            yield
            return
        earlier = [(p, p.grad) for p in self.trained_parameters()]
        self.zero_gradients()
        yield
        for parameter, gradient in earlier:
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
