"""LoRA-SAM: sharpness-aware minimisation over the LoRA factors, and what its relatives share.

SAM is due to Foret et al. (ICLR 2021, arXiv 2010.01412); applied to (A, B) it is the LoRA-SAM baseline of the
Bi-LoRA paper (arXiv 2508.19564). The adversary is taken from the gradient of the whole effective batch, and the
second pass replays the same micro-batches with the same dropout masks, so that gradient accumulation does not
change the method; `sam_scope="micro-batch"` is the cheap variant that perturbs for every micro-batch anew, which is
another method (m-sharpness). The weights are restored from a copy, never by subtraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bilora.methods.base import Method
from bilora.methods.options import MethodOptions, nonnegative, one_of, option
from bilora.methods.perturbation import perturbed
from bilora.methods.window import Window
from bilora.shards import local

SCOPES = ("step", "rank", "micro-batch")


@dataclass(frozen=True, kw_only=True)
class SamOptions(MethodOptions):
    """What all two-pass methods can be asked."""

    rho: float = option(0.01, nonnegative, "radius: L2 norm of the step over all A and B (paper: 0.01 or 0.05)")
    sam_scope: str = option(
        "step",
        one_of(*SCOPES),
        "step: one adversary per optimizer step, from the gradient of all ranks; rank: each rank its own; micro-batch: "
        "each micro-batch of each rank its own",
    )


class TwoPassSam(Method):
    """A method that climbs along its own gradient, takes another gradient there, and comes back.

    Subclasses choose the direction (`ascent`) and what is made of the two gradients (`combine`).
    """

    memory_rule = "a copy of the perturbed factors, and the clean gradients while the second pass runs"
    options_class = SamOptions
    options: SamOptions
    replays: ClassVar[bool] = True
    replayable: ClassVar[bool] = True
    #: Called with the weights, the direction and its factor at every ascent, for who wants to record it.
    on_ascent: Callable[[list[nn.Parameter], list[Tensor], Tensor | float], None] | None = None

    @property
    def scope(self) -> str:
        """See `Method.scope`."""
        return self.options.sam_scope

    def reached(self) -> tuple[list[nn.Parameter], list[Tensor]]:
        """Return the trained weights that have a gradient, and these gradients; of sharded ones the rows here."""
        pairs = [(p, local(p.grad)) for p in self.weights.parameters if p.grad is not None]
        return [p for p, _ in pairs], [g for _, g in pairs]

    @torch.no_grad()
    def refine_gradients(self, window: Window) -> None:
        """Climb, take the gradients there, come back, combine."""
        parameters, gradients = self.reached()
        direction, scale = self.ascent(parameters, gradients)
        if self.on_ascent is not None:
            self.on_ascent(parameters, direction, scale)
        with perturbed(self, parameters, direction, scale):
            window.replay()
        self.combine(parameters, gradients)

    def ascent(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> tuple[list[Tensor], Tensor | float]:
        """Return a direction and its factor: rho g / ||g||, the norm taken over all factors of all layers."""
        return gradients, scale_to(self.options.rho, self.weights.norm(gradients))

    def combine(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
        """Write the step's gradient to `.grad`, where the perturbed gradient stands; here that is the one.

        Args:
            parameters: The weights that were perturbed.
            gradients: The clean gradients, still as they were before the second pass.
        """

    def extra_memory(self) -> int:
        """Copy and clean gradient of every factor."""
        return 2 * sum(p.nbytes for p in self.weights.parameters)


class LoraSam(TwoPassSam):
    """LoRA-SAM: step with the gradient at (A, B) + rho g / ||g||, the norm taken over all factors of all layers."""

    name = "lora-sam"
    summary = "SAM over the factors (A, B); two gradients a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "2"
    source = "Foret et al., ICLR 2021, arXiv 2010.01412; over (A, B) as in arXiv 2508.19564"
    published_cost = 1.96


def present_gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    """Return the gradients that stand in `.grad`, as far as they are here; zeros are put where there is none.

    A mixture of experts may route a batch elsewhere once its weights are perturbed, so that a pass misses a weight.
    """
    found = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        found.append(local(parameter.grad))
    return found


def scale_to(rho: float, norm: Tensor) -> Tensor:
    """Return rho / norm, and 0 where the norm is 0: a zero gradient has no direction."""
    return torch.where(norm > 0, rho / norm, torch.zeros_like(norm))
