"""Records a run while it trains: times of steps, losses, and the step at which training diverged.

A step's time is taken around its forward and backward passes and the optimizer, without evaluations. Now and then one
plain gradient is timed just before a step: their ratio is the method's cost in gradients, and does not depend on how
busy the machine was when one method or another had its turn. The loss of every step is looked at once the step is done,
so that a run whose loss is no number any more ends there and not at its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from analysis import Objective
from benchmarks.environment import synchronize
from benchmarks.out_of_memory import EvaluationOutOfMemory, is_out_of_memory
from benchmarks.progress import Update
from bilora import Method
from bilora.graphed import GraphedBackward

# Plain gradients timed over a run.
_REFERENCES = 15


class TrainingDiverged(RuntimeError):
    """A loss is no longer a finite number; `step` is the optimizer step at which that was seen."""

    def __init__(self, what: str, *, step: int) -> None:
        super().__init__(f"training diverged: {what} at step {step}; lower --learning-rate or the method's rho")
        self.step = step


class Recorder(TrainerCallback):
    """Times steps, evaluates, stops on a loss that is not finite, and feeds the progress display.

    Args:
        method: The method that trains, attached.
        evaluations: What is evaluated on the way, by name.
        reference: Times the plain gradient of one batch, in seconds.
        losses: Returns the losses of the passes of the last step, at least one, and forgets them.
        steps: Optimizer steps of the run.
        evaluate_every: Steps from one evaluation to the next; 0 for none.
        update: Progress, `update(fraction, note)`.
    """

    def __init__(
        self,
        method: Method,
        evaluations: dict[str, Objective],
        reference: Callable[[], float],
        losses: Callable[[], list[Tensor]],
        *,
        steps: int,
        evaluate_every: int,
        update: Update,
    ) -> None:
        self.method = method
        self.evaluations = evaluations
        self.reference = reference
        self.losses = losses
        self.refer_every = math.ceil(steps / _REFERENCES)
        self.evaluate_every = evaluate_every
        self.update = update
        self.seconds: list[float] = []
        self.ratios: list[float] = []
        self.history: list[dict[str, float]] = []
        self._started = 0.0
        self._reference_seconds: float | None = None
        self._loss = math.nan

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Time a plain gradient if one is due, then start the step's clock."""
        # The first step of a process is slower than any other; it is compared with nothing.
        due = state.global_step % self.refer_every == self.refer_every - 1 or state.global_step + 1 == state.max_steps
        self._reference_seconds = self.reference() if due else None
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the step's clock, look at its loss, and evaluate if that is due."""
        synchronize(args.device)
        self.seconds.append(time.perf_counter() - self._started)
        if self._reference_seconds is not None:
            self.ratios.append(self.seconds[-1] / self._reference_seconds)
        step = int(state.global_step)
        self._check_losses(step)
        shown = "" if math.isnan(self._loss) else f" loss {self._loss:.3f}"
        self.update(step / state.max_steps, f"step {step}/{state.max_steps}{shown}")
        if self.evaluate_every and (step % self.evaluate_every == 0 or step == state.max_steps):
            self.history.append({"step": step, **self._evaluated(step)})

    def _check_losses(self, step: int) -> None:
        # One number is fetched a step, from a device that has been waited for already.
        loss = float(torch.stack([loss.float() for loss in self.losses()]).sum())
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the loss is {loss}", step=step)

    def _evaluated(self, step: int) -> dict[str, float]:
        try:
            with self.method.evaluation():
                losses = {name: found.value() for name, found in self.evaluations.items()}
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise EvaluationOutOfMemory(
                f"an evaluation during training does not fit into memory; lower --evaluation-batch-size: {error}"
            ) from error
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingDiverged(f"the {name.replace('_', ' ')} is {loss}", step=step)
        return losses

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Keep what the Trainer logs of training."""
        if not logs or "loss" not in logs:
            return
        self._loss = float(logs["loss"])
        if not math.isfinite(self._loss):
            raise TrainingDiverged(f"the loss is {self._loss}", step=int(state.global_step))
        self.history.append({"step": int(state.global_step), **{k: float(v) for k, v in logs.items()}})

    def state_dict(self) -> dict[str, Any]:
        """Return what has been recorded, JSON-ready, for a checkpoint."""
        return {"seconds": self.seconds, "ratios": self.ratios, "history": self.history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.seconds = [float(seconds) for seconds in state["seconds"]]
        self.ratios = [float(ratio) for ratio in state["ratios"]]
        self.history = [{str(name): value for name, value in record.items()} for record in state["history"]]


def plain_gradient_seconds(
    method: Method, batch: dict[str, torch.Tensor], *, passes: int, graphed: GraphedBackward | None
) -> float:
    """Time `passes` forward and backward passes of the exported model; gradients and generators are left alone."""
    device = next(method.model.parameters()).device
    inputs = {name: values.to(device) for name, values in batch.items()}
    with method.evaluation(), torch.random.fork_rng():
        parameters = method.weights.parameters
        kept = [p.grad for p in parameters]

        def take() -> None:
            if graphed is None:
                torch.autograd.grad(method.model(**inputs).loss, parameters, allow_unused=True)
            else:
                graphed(inputs)

        if graphed is not None:
            take()  # recorded, if it is the first
        synchronize(device)
        started = time.perf_counter()
        for _ in range(passes):
            take()
        synchronize(device)
        seconds = time.perf_counter() - started
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient
        return seconds
