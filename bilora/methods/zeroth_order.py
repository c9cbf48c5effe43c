"""AdaZo-SAM: sharpness-aware minimisation whose ascent direction is estimated from losses alone.

The ascent of LORENZA (Refael, Arbel, Lindenbaum, Tirer, arXiv 2502.19571) over the LoRA factors: the loss is probed on
both sides of the weights along q random directions, and the one gradient of the step is taken at the point that the
estimate leads to. A catalogue of optimizers prints the estimate with a minus sign, which would be descent; here
it climbs. Every probe sees the batch and the dropout masks of the gradient. For q = 1 the step is a random
direction with the sign that climbs; its expected cosine to the gradient is sqrt(2 / (pi d)) in d dimensions, so that
few probes are little more than random perturbation. LORENZA's own training of W in a low-rank subspace has no
counterpart in LoRA's factors, which are low-rank already. The text gives no values for rho, mu and q; the defaults
are LoRA-SAM's radius, the step of published zeroth-order fine-tuning (MeZO, arXiv 2305.17333) and one probe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bilora.devices import scale_
from bilora.draws import standard_normals
from bilora.methods.options import MethodOptions, between, nonnegative, option, positive_integer
from bilora.methods.perturbation import OnePassPerturbation, parameters_restored
from bilora.methods.sam import scale_to
from bilora.methods.seeded import SeededMethod
from bilora.methods.window import Window
from bilora.shards import local_all


@dataclass(frozen=True, kw_only=True)
class AdaZoSamOptions(MethodOptions):
    """Options of AdaZo-SAM."""

    rho: float = option(0.01, nonnegative, "radius: L2 norm of the step over all A and B")
    probes: int = option(1, positive_integer, "random directions q of the estimate, two forward passes each")
    mu: float = option(
        1e-3, between(0, math.inf, low_allowed=False, high_allowed=False), "step of a probe per entry of A and B"
    )


class AdaZoSam(SeededMethod, OnePassPerturbation):
    """AdaZo-SAM: take the gradient at (A, B) + rho g / ||g|| for an estimate g of the gradient.

    With x all of (A, B), g = mean over j of (L(x + mu u_j) - L(x - mu u_j)) / (2 mu) * u_j, where the u_j have
    independent N(0, 1) entries. Where all differences are zero the weights stay.
    """

    name = "adazo-sam"
    summary = "SAM over (A, B) with a zeroth-order ascent; one gradient and 2 q forward passes a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "1 + 2 q forward passes"
    memory_rule = "a copy of the factors, their step and a probe"
    source = "Refael et al., arXiv 2502.19571 (AdaZo-SAM, the ascent of LORENZA)"
    options_class = AdaZoSamOptions
    options: AdaZoSamOptions

    def perturbation(self, window: Window) -> tuple[list[nn.Parameter], list[Tensor], Tensor | float]:
        """See `OnePassPerturbation.perturbation`."""
        estimate = self.estimate(window)
        return self.weights.parameters, estimate, scale_to(self.options.rho, self.weights.norm(estimate))

    @torch.no_grad()
    def estimate(self, window: Window) -> list[Tensor]:
        """Return the zeroth-order estimate of the gradient, one tensor for each trained weight, as far as it is here.

        Every rank draws the same probes, and the losses are those of all ranks.
        """
        parameters, held = self.weights.parameters, local_all(self.weights.parameters)
        mu = self.options.mu
        total = [torch.zeros_like(p) for p in held]
        with parameters_restored(parameters) as saved:
            for number in range(self.options.probes):
                probe = standard_normals(parameters, *self.draw_key, number)
                losses = []
                for side in (mu, -mu):
                    torch._foreach_copy_(held, saved)
                    torch._foreach_add_(held, probe, alpha=side)
                    losses.append(window.loss())
                slope = (losses[0] - losses[1]) / (2 * mu * self.options.probes)
                scale_(probe, slope)
                torch._foreach_add_(total, probe)
        return total

    def extra_memory(self) -> int:
        """Copy, estimate and probe of every factor."""
        return 3 * sum(p.nbytes for p in self.weights.parameters)
