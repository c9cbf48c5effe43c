"""SAM with another way up: ASAM measures the step relative to the weights, FSAM climbs against the batch's own noise.

Both step with the gradient at the perturbed weights, as SAM does, and differ in where these weights are. ASAM (Kwon
et al., ICML 2021, arXiv 2102.11600) scales every coordinate by its weight, so that for eta = 0 its adversary is the
same for (c A, B / c) as for (A, B); FSAM (Li et al., CVPR 2024, arXiv 2403.12350) takes away from the gradient what
it shares with the average of past gradients. ASAM is applied to every trained tensor; the authors' code leaves
biases unscaled, of which LoRA has none. FSAM refuses fp16 loss scaling, which would change the unit of its average.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.methods.carried import CarriedVector
from bilora.methods.options import between, nonnegative, one_of, option
from bilora.methods.sam import SamOptions, TwoPassSam, scale_to
from bilora.methods.window import Window
from bilora.shards import local_all


@dataclass(frozen=True, kw_only=True)
class AsamOptions(SamOptions):
    """Options of ASAM."""

    rho: float = option(0.5, nonnegative, "radius: L2 norm of eps / (|w| + eta) over all A and B (paper: 0.5)")
    eta: float = option(0.01, nonnegative, "added to |w|; at 0 a factor B that still is 0 is never perturbed")


class Asam(TwoPassSam):
    """ASAM: eps = rho T^2 g / ||T g|| with T = diag(|w| + eta), all norms over all factors together."""

    name = "asam"
    summary = "SAM in units of |w| + eta, entry by entry; two gradients a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm of eps / (|w| + eta) over all (A, B) together"
    cost_rule = "2"
    memory_rule = "a copy of the perturbed factors, the step, and the clean gradients while the second pass runs"
    source = "Kwon et al., ICML 2021, arXiv 2102.11600"
    options_class = AsamOptions
    options: AsamOptions

    def ascent(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> tuple[list[Tensor], Tensor | float]:
        """Return T^2 g and rho / ||T g||."""
        scaling = torch._foreach_abs(local_all(parameters))
        torch._foreach_add_(scaling, self.options.eta)
        direction = list(torch._foreach_mul(scaling, gradients))
        scale = scale_to(self.options.rho, self.weights.norm(direction))
        torch._foreach_mul_(direction, scaling)
        return direction, scale

    def extra_memory(self) -> int:
        """Copy, clean gradient and T^2 g of every factor."""
        return 3 * sum(p.nbytes for p in self.weights.parameters)


@dataclass(frozen=True, kw_only=True)
class FsamOptions(SamOptions):
    """Options of FSAM."""

    sigma: float = option(1.0, nonnegative, "how much of the gradients' average is taken away (0: SAM)")
    decay: float = option(0.9, between(0, 1, high_allowed=False), "decay lambda of that average (published: .6 to .95)")
    average: str = option(
        "current",
        one_of("current", "previous"),
        "the average with this step's gradient in it (paper), or without (authors' code; its first step is SAM's)",
    )


class Fsam(TwoPassSam):
    """Friendly SAM: m <- lambda m + (1 - lambda) g; eps = rho (g - sigma m) / ||g - sigma m||."""

    name = "fsam"
    summary = "SAM along g - sigma m, m the running average of gradients; two gradients a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "2"
    memory_rule = "the average, the step, a copy of the perturbed factors, and the clean gradients in the second pass"
    source = "Li et al., CVPR 2024, arXiv 2403.12350"
    options_class = FsamOptions
    options: FsamOptions
    carries_gradients = True

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach the adapter; the average of gradients starts at 0."""
        attached = super().attach(model, config)
        self.average = CarriedVector("average", lambda: self.weights.parameters)
        return attached

    def refine_gradients(self, window: Window) -> None:
        """See `TwoPassSam.refine_gradients`.

        Raises:
            MethodError: If the losses are scaled.
        """
        window.require_true_gradients("method 'fsam' averages gradients over steps")
        super().refine_gradients(window)

    def ascent(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> tuple[list[Tensor], Tensor | float]:
        """Return g - sigma m and what brings it to length rho; updates m."""
        options = self.options
        first = not self.average
        average = self.average.of(parameters)
        if options.average == "current":
            torch._foreach_lerp_(average, gradients, 1 - options.decay)
            direction = torch._foreach_sub(gradients, average, alpha=options.sigma)
        else:
            direction = torch._foreach_sub(gradients, average, alpha=options.sigma)
            torch._foreach_lerp_(average, gradients, 1.0 if first else 1 - options.decay)
        return list(direction), scale_to(options.rho, self.weights.norm(list(direction)))

    def extra_memory(self) -> int:
        """Copy, clean gradient, direction and average of every factor."""
        return 4 * sum(p.nbytes for p in self.weights.parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average as well."""
        return super().state_dict() | self.average.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back the average as well."""
        super().load_state_dict(state)
        self.average.load_state_dict(state)
