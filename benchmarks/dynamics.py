"""Records the adapters of a run while it trains: what Figures 2 and 3 of the Bi-LoRA paper (arXiv 2508.19564) show.

The state is taken before a step, outside its clock, together with the perturbation that LoRA-SAM makes at that very
state; what is computed from them is computed before the next step. The final state ends the record. Methods that
perturb the factors in two passes say how; others have states alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from analysis.dynamics import Dynamics, DynamicsRecorder
from analysis.dynamics.cosines import Snapshot
from bilora.factors import LoraFactors, lora_factors
from bilora.methods import Method
from bilora.methods.auxiliary import AuxiliaryMethod
from bilora.methods.sam import TwoPassSam


class DynamicsCallback(TrainerCallback):
    """Feeds a `DynamicsRecorder` from a Trainer.

    Args:
        method: The method that trains, attached.
        every: Steps from one recorded state to the next.
    """

    def __init__(self, method: Method, *, every: int) -> None:
        self._method = method
        self._every = every
        self._recorder = DynamicsRecorder()
        self._waiting: tuple[int, Snapshot, Snapshot | None] | None = None
        self._ascent: dict[int, Tensor] | None = None
        if isinstance(method, TwoPassSam):
            method.on_ascent = self._keep_ascent

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record what the last step left, and take the state before this one if it is due."""
        self._record_waiting()
        if state.global_step % self._every == 0:
            self._take(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the record with the final state."""
        self._record_waiting()
        self._take(state.global_step)
        self._record_waiting()
        if isinstance(self._method, TwoPassSam):
            self._method.on_ascent = None

    def finish(self) -> Dynamics:
        """Return the record, once training has ended."""
        return self._recorder.finish()

    def _take(self, step: int) -> None:
        auxiliary = self._method.pair.auxiliary if isinstance(self._method, AuxiliaryMethod) else None
        primary = _copy(lora_factors(self._method.model))
        self._waiting = step, primary, None if auxiliary is None else _copy(auxiliary)

    def _keep_ascent(self, parameters: list[nn.Parameter], direction: list[Tensor], scale: Tensor | float) -> None:
        if self._waiting is not None:
            self._ascent = {id(p): scale * step for p, step in zip(parameters, direction, strict=True)}

    def _record_waiting(self) -> None:
        if self._waiting is None:
            return
        step, primary, auxiliary = self._waiting
        perturbation = None
        if self._ascent is not None:
            # A factor that the step's gradient did not reach, as in a mixture of experts, is not perturbed.
            ascent, factors = self._ascent, lora_factors(self._method.model)
            perturbation = [
                (ascent.get(id(f.A), torch.zeros_like(f.A)), ascent.get(id(f.B), torch.zeros_like(f.B)))
                for f in factors
            ]
        self._recorder.record(step, primary, auxiliary=auxiliary, perturbation=perturbation)
        self._waiting = self._ascent = None


def _copy(factors: Iterable[LoraFactors]) -> Snapshot:
    return [(f.A.detach().clone(), f.B.detach().clone(), f.scaling) for f in factors]
