"""What a training method is: five moments of an optimizer step at which it may act.

A method decides how adapters are attached, which parameters are trained in which group, what gradient an
optimizer step gets, what happens after the step, and what is thrown away at the end. It knows no Trainer: the
same object is driven by `bilora.trainer.SharpnessMixin`, or by a plain loop through `Method.gradients` and
`bilora.optimizer.build_optimizer`.

The moments of one optimizer step, over one or more micro-batches:

1. `before_backward` - before the first forward pass of the effective batch;
2. forward and backward passes of all micro-batches, run by whoever drives the method;
3. `refine_gradients(replay)` - gradients of the effective batch stand in `.grad`; a two-pass method perturbs,
   calls `replay()` and restores;
4. the optimizer's step;
5. `after_step` - for example Bi-LoRA's projection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn

from bilora.adapters import attach_primary
from bilora.methods.options import MethodError, MethodOptions

Replay = Callable[[], None]


class RunningMeans:
    """Means of scalar tensors between two logs, kept on the device so that a step never waits for it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one value of `name` (a scalar tensor)."""
        value = value.detach().float()
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def pop(self) -> dict[str, float]:
        """Return the means since the last call and start anew. This is the one place that waits for the device."""
        means = {name: (total / self._counts[name]).item() for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class Method(ABC):
    """One training rule. Subclasses are registered by name in `bilora.methods.registry`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    #: In which space and norm the method's radius is measured, for the head of a report.
    radius_convention: ClassVar[str]
    options_class: ClassVar[type[MethodOptions]] = MethodOptions
    #: Whether `refine_gradients` calls `replay`, so that drivers must keep the micro-batches of the window.
    replays: ClassVar[bool] = False

    def __init__(self, options: MethodOptions | None = None) -> None:
        self.options = self.options_class() if options is None else options
        self.means = RunningMeans()
        #: Forward-backward passes over the effective batch so far: the method's cost in gradients.
        self.gradient_evaluations = 0
        self._model: PeftModel | None = None

    @property
    def model(self) -> PeftModel:
        """The PEFT model this method was attached to."""
        if self._model is None:
            raise MethodError(f"method {self.name!r} is not attached to a model yet; call attach first")
        return self._model

    def attach(self, model: nn.Module, config: LoraConfig | None = None) -> PeftModel:
        """Attach the method's adapters to `model` and return it as a PEFT model.

        Args:
            model: A plain model (then `config` is needed) or a `PeftModel` with its primary adapter active.
            config: LoRA configuration of the primary adapter.
        """
        self._model = attach_primary(model, config)
        return self._model

    @abstractmethod
    def parameter_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups."""

    def before_backward(self) -> None:
        """Act before the first forward pass of an effective batch."""
        self.gradient_evaluations += 1

    def refine_gradients(self, replay: Replay) -> None:
        """Replace the gradients of the effective batch; `replay` zeroes them and runs all its passes again."""

    def after_step(self) -> None:
        """Act after the optimizer's step."""

    def evaluation(self) -> AbstractContextManager[None]:
        """Context in which the model computes what will be exported."""
        return nullcontext()

    def exporting(self) -> AbstractContextManager[None]:
        """Context in which `model.save_pretrained` writes the exported adapter only."""
        return nullcontext()

    def export(self, folder: str | Path) -> None:
        """Write the trained primary adapter to `folder` in PEFT's format."""
        with self.exporting():
            self.model.save_pretrained(str(folder))

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a resumed run needs beyond the exported adapter and the optimizer's state."""
        return {"gradient_evaluations": torch.tensor(self.gradient_evaluations)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self.gradient_evaluations = int(state["gradient_evaluations"])

    def gradients(self, forward_backward: Callable[[], Tensor]) -> Tensor:
        """Put the gradients of one optimizer step into `.grad`, for loops without a Trainer.

        Args:
            forward_backward: Runs forward and backward over the whole effective batch and returns the loss.
                Gradients must be zero (or None) before the call, as after `optimizer.zero_grad()`.

        Returns:
            The loss of the first pass.
        """
        self.before_backward()
        state = random_state()
        loss = forward_backward()
        after = random_state()

        def replay() -> None:
            self.zero_gradients()
            set_random_state(state)
            forward_backward()
            set_random_state(after)

        self.refine_gradients(replay)
        return loss

    def trained_parameters(self) -> list[Tensor]:
        """Return every parameter of the model that is being trained."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def zero_gradients(self) -> None:
        """Drop the gradients of all trained parameters."""
        for parameter in self.trained_parameters():
            parameter.grad = None


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
def parameters_restored(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield copies of `parameters` and write them back, bit for bit, on the way out.

    Values are copied into the parameters' own storage: rebinding `.data` would break flattened or shared views,
    and subtracting what was added would leave rounding behind.
    """
    saved = [p.detach().clone() for p in parameters]
    try:
        yield saved
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, saved)
