"""SAM with another use of its two gradients: GSAM and WSAM step along a mixture of both.

GSAM (Zhuang et al., ICLR 2022, arXiv 2203.08065) also descends the gap between the two losses, by the part of the
clean gradient that the perturbed one does not share, and lets its radius follow the learning rate. WSAM (Yue et al.,
KDD 2023, arXiv 2305.15817) weighs sharpness by kappa = gamma / (1 - gamma); as published it is decoupled: the optimizer
steps with the clean gradient, and the difference of the two is applied behind it as plain gradient descent. Beside
AdamW that correction is far smaller than the optimizer's own step, so the coupled form is offered too. The decoupled
one refuses fp16 loss scaling, which would scale the correction as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from bilora.devices import scale_
from bilora.methods.carried import CarriedVector
from bilora.methods.options import MethodError, between, boolean, nonnegative, option
from bilora.methods.sam import SamOptions, TwoPassSam, present_gradients, scale_to
from bilora.methods.window import Window
from bilora.shards import local_all, owned


@dataclass(frozen=True, kw_only=True)
class GsamOptions(SamOptions):
    """Options of GSAM."""

    rho: float = option(0.01, nonnegative, "radius at the peak learning rate: L2 norm of the step over all A and B")
    rho_min: float = option(0.0, nonnegative, "radius at learning rate 0; between them linear (equal to rho: constant)")
    alpha: float = option(0.4, nonnegative, "weight of the clean gradient's orthogonal part (0: SAM; paper: 0.4)")

    def __post_init__(self) -> None:
        """Check that the radii are in order.

        Raises:
            MethodError: If `rho_min` exceeds `rho`, or a value cannot be used.
        """
        super().__post_init__()
        if self.rho_min > self.rho:
            raise MethodError(f"option rho_min is {self.rho_min}; expected a number of at most rho, {self.rho}")


class Gsam(TwoPassSam):
    """GSAM: step with g~ - alpha (g - (<g, g~> / ||g~||^2) g~), g~ the gradient at w + rho_t g / ||g||."""

    name = "gsam"
    summary = "SAM less alpha times the clean gradient's part orthogonal to SAM's; two gradients a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together; follows the learning rate from rho down to rho_min"
    cost_rule = "2"
    source = "Zhuang et al., ICLR 2022, arXiv 2203.08065"
    options_class = GsamOptions
    options: GsamOptions
    _peak_learning_rate: float | None = None

    def bind(self, optimizer: Optimizer, *, total_steps: int | None = None) -> None:
        """Learn the optimizer, whose learning rate is at its peak before a scheduler is put on it."""
        super().bind(optimizer, total_steps=total_steps)
        self._peak_learning_rate = float(self.primary_group.get("initial_lr", self.primary_group["lr"]))

    def radius(self) -> float:
        """Return rho_min + (rho - rho_min) lr / peak lr; rho where there is no optimizer, or it never moves."""
        options = self.options
        if not self._peak_learning_rate:
            return options.rho
        share = min(float(self.primary_group["lr"]) / self._peak_learning_rate, 1.0)
        return options.rho_min + (options.rho - options.rho_min) * share

    def ascent(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> tuple[list[Tensor], Tensor | float]:
        """Return g and rho_t / ||g||."""
        radius = self.radius()
        self.means.add("rho", torch.tensor(radius))
        return gradients, scale_to(radius, self.weights.norm(gradients))

    def combine(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
        """Write (1 + alpha c) g~ - alpha g with c = <g, g~> / ||g~||^2, the same without a third vector."""
        sharp = present_gradients(parameters)
        alpha = self.options.alpha
        scale_(sharp, 1.0 + alpha * self.weights.share_along(gradients, sharp))
        torch._foreach_add_(sharp, gradients, alpha=-alpha)


@dataclass(frozen=True, kw_only=True)
class WsamOptions(SamOptions):
    """Options of WSAM."""

    gamma: float = option(
        0.9, between(0, 1, high_allowed=False), "weight of sharpness, kappa = gamma / (1 - gamma) (0: LoRA; .5: SAM)"
    )
    decoupled: bool = option(True, boolean, "correct behind the optimizer's step (paper), or mix in front of it")

    @property
    def kappa(self) -> float:
        """The weight of L_SAM - L beside L."""
        return self.gamma / (1.0 - self.gamma)


class Wsam(TwoPassSam):
    """WSAM: minimise L + kappa (L_SAM - L), decoupled from the optimizer (default) or through it."""

    name = "wsam"
    summary = "optimizer's step along g, then w -= lr kappa (g~ - g), or one along their mixture; two gradients a step"
    perturbs = "(A, B)"
    radius_convention = "L2 norm over all (A, B) together"
    cost_rule = "2"
    memory_rule = "a copy of the perturbed factors, the clean gradients, and their difference to the perturbed ones"
    source = "Yue et al., KDD 2023, arXiv 2305.15817"
    options_class = WsamOptions
    options: WsamOptions

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach the adapter; there is no correction yet."""
        attached = super().attach(model, config)
        self._differences = CarriedVector("differences", lambda: self.weights.parameters)
        return attached

    def refine_gradients(self, window: Window) -> None:
        """See `TwoPassSam.refine_gradients`.

        Raises:
            MethodError: If the losses are scaled and the correction is decoupled.
        """
        if self.options.decoupled:
            window.require_true_gradients(
                "method 'wsam' adds gradients to the weights itself (decoupled=false does not)"
            )
        super().refine_gradients(window)

    def combine(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
        """Write (1 - kappa) g + kappa g~; decoupled, write g and keep g~ - g for `after_step`."""
        sharp = present_gradients(parameters)
        if not self.options.decoupled:
            torch._foreach_mul_(sharp, self.options.kappa)
            torch._foreach_add_(sharp, gradients, alpha=1.0 - self.options.kappa)
            return
        torch._foreach_sub_(sharp, gradients)
        if self.scope == "step":
            # Nobody took the last step, if it left something; micro-batches that are treated singly add up.
            self._differences.clear()
        self._differences.add(parameters, sharp)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = owned(gradient, parameter)

    def own_vectors(self) -> list[Tensor]:
        """Return the differences that `after_step` will apply."""
        return self._differences.stored()[1]

    @torch.no_grad()
    def after_step(self) -> None:
        """Correct the weights by -lr kappa (g~ - g), with the learning rate of the step just taken, unclipped."""
        parameters, differences = self._differences.stored()
        if parameters:
            rate = float(self.primary_group["lr"]) * self.options.kappa
            torch._foreach_add_(local_all(parameters), differences, alpha=-rate)
        self._differences.clear()

    def abandon_step(self) -> None:
        """Forget the corrections of a step that failed."""
        super().abandon_step()
        self._differences.clear()

    def extra_memory(self) -> int:
        """Copy, clean gradient and, decoupled, the difference of every factor."""
        return (3 if self.options.decoupled else 2) * sum(p.nbytes for p in self.weights.parameters)
