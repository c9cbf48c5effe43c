"""LoRA-SAM: sharpness-aware minimisation over the LoRA factors.

SAM is due to Foret et al. (ICLR 2021, arXiv 2010.01412); applied to (A, B) it is the LoRA-SAM baseline of the
Bi-LoRA paper (arXiv 2508.19564). The adversary is taken from the gradient of the whole effective batch, and the
second pass replays the same micro-batches with the same dropout masks, so that gradient accumulation does not
change the method. The weights are restored from a copy, never by subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import LoraConfig, PeftModel
from torch import nn

from bilora.adapters import displacement_norm, lora_factors
from bilora.methods.base import Method, Replay, parameters_restored
from bilora.methods.options import MethodOptions, nonnegative, option


@dataclass(frozen=True, kw_only=True)
class LoraSamOptions(MethodOptions):
    """Options of LoRA-SAM."""

    rho: float = option(0.01, nonnegative, "radius: L2 norm of the step over all A and B (paper: 0.01 or 0.05)")


class LoraSam(Method):
    """LoRA-SAM: step with the gradient at (A, B) + rho g / ||g||, the norm taken over all factors of all layers."""

    name = "lora-sam"
    summary = "SAM over the factors (A, B); two gradients a step"
    radius_convention = "L2 norm over all (A, B) together"
    options_class = LoraSamOptions
    options: LoraSamOptions
    replays: ClassVar[bool] = True

    def attach(self, model: nn.Module, config: LoraConfig | None = None) -> PeftModel:
        """Attach the primary adapter."""
        peft_model = super().attach(model, config)
        self._factors = lora_factors(peft_model, str(peft_model.active_adapters[0]))
        return peft_model

    def parameter_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return one group with every trainable parameter."""
        return [{"params": self.trained_parameters(), "lr": learning_rate, "weight_decay": weight_decay}]

    @torch.no_grad()
    def refine_gradients(self, replay: Replay) -> None:
        """Climb by rho g / ||g||, take the gradients there, come back."""
        perturbed = [p for p in self.trained_parameters() if p.grad is not None]
        gradients = [p.grad for p in perturbed if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)).float())
        # A zero gradient has no direction: the step is then zero, not a division by zero.
        step = torch.where(norm > 0, self.options.rho / norm, torch.zeros_like(norm))
        with parameters_restored(perturbed) as saved:
            copies = {id(p): copy for p, copy in zip(perturbed, saved, strict=True)}
            # A factor without a gradient is not moved and stands for itself.
            before = [(copies.get(id(f.A), f.A.detach()), copies.get(id(f.B), f.B.detach())) for f in self._factors]
            torch._foreach_add_(perturbed, list(torch._foreach_mul(gradients, step)))
            self.means.add("perturbation_norm", displacement_norm(self._factors, before))
            with torch.enable_grad():
                replay()
        self.gradient_evaluations += 1
