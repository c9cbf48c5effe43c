"""Bi-LoRA: an auxiliary LoRA adapter climbs while the primary descends, on one shared gradient.

Liu, Li, Huang, Yang, Huang, "Bi-LoRA: Efficient Sharpness-Aware Minimization for Fine-Tuning Large-Scale
Models" (ICLR 2026, arXiv 2508.19564) solve

    min over (B1, A1) of max over ||s B2 A2||_F <= rho of L(W0 + s B1 A1 + s B2 A2)

with one forward and backward pass per step. Here the auxiliary is a second stock PEFT adapter; its ascent is a
parameter group with `maximize=True`, no weight decay and a gradient clip of its own; after each step both its
factors are scaled back onto the ball when they have left it. The norm is taken over all layers together, with
the scaling s inside: the true change of the weights. The paper leaves the optimizer, the place of s and the
auxiliary's start open; these are our choices.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.adapters import AdapterPair
from bilora.methods.base import Method
from bilora.methods.options import (
    MethodError,
    MethodOptions,
    nonnegative,
    one_of,
    option,
    optional,
    positive_integer,
)

CLIP_SCHEMES = ("global", "per-layer", "none")
# Scaling rounds every entry; a product that should lie on the sphere may then stand out of it by about one
# part in 1e7. This margin keeps the promise that the radius is never exceeded.
_MARGIN = 1e-6


@dataclass(frozen=True, kw_only=True)
class BiLoraOptions(MethodOptions):
    """Options of Bi-LoRA."""

    rho: float = option(
        0.05, nonnegative, "radius: sqrt(sum over layers of ||s B2 A2||_F^2), in weight space (paper: 0.05 or 0.1)"
    )
    auxiliary_rank: int | None = option(
        None, optional(positive_integer), "rank of the auxiliary adapter; none takes the primary's"
    )
    auxiliary_learning_rate: float | None = option(
        None,
        optional(nonnegative),
        "peak learning rate of the ascent, on the primary's schedule; none: the primary's",
    )
    clip: str = option("global", one_of(*CLIP_SCHEMES), "projection after a step: global (one ball), per-layer, none")


class BiLora(Method):
    """Bi-LoRA with global (default), per-layer or no projection of the auxiliary adapter."""

    name = "bilora"
    summary = "auxiliary adapter ascends inside a weight-space ball; one gradient a step"
    perturbs = "W, by the auxiliary product s B2 A2"
    radius_convention = "sqrt(sum over layers of ||s B2 A2||_F^2), s = alpha / r inside: the true change of the weights"
    cost_rule = "1"
    memory_rule = "auxiliary factors, their gradients and optimizer moments"
    source = "Liu et al., ICLR 2026, arXiv 2508.19564"
    published_cost = 1.11
    options_class = BiLoraOptions
    options: BiLoraOptions

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """Attach the primary adapter and the auxiliary beside it; both become active."""
        peft_model = super().attach(model, config)
        self.pair = AdapterPair(self.model, auxiliary_rank=self.options.auxiliary_rank)
        return peft_model

    def _auxiliary_parameters(self) -> list[Tensor]:
        return [p for f in self.pair.auxiliary for p in (f.A, f.B)]

    def parameter_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the descending primary group and the ascending auxiliary group."""
        ascent = self.options.auxiliary_learning_rate
        return [
            *super().parameter_groups(learning_rate=learning_rate, weight_decay=weight_decay),
            {
                "params": self._auxiliary_parameters(),
                "lr": learning_rate if ascent is None else ascent,
                "weight_decay": 0.0,
                "maximize": True,
            },
        ]

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale both auxiliary factors by sqrt(rho / c) where the norm c of their product exceeds rho."""
        squares = self.pair.auxiliary_norms_squared()
        if self.options.clip == "global":
            norm = squares.sum().sqrt()
            factor = self._shrink(norm)
            torch._foreach_mul_(self._auxiliary_parameters(), factor.to(self.pair.auxiliary[0].A.dtype))
            self.means.add("clip_active", (norm > self.options.rho).float())
            norm = norm.clamp_max(self.options.rho)
        elif self.options.clip == "per-layer":
            norms = squares.sqrt()
            factors = self._shrink(norms)
            for layer, factor in zip(self.pair.auxiliary, factors, strict=True):
                layer.A.mul_(factor)
                layer.B.mul_(factor)
            self.means.add("clip_active", (norms > self.options.rho).float().mean())
            norm = norms.clamp_max(self.options.rho).square().sum().sqrt()
        else:
            norm = squares.sum().sqrt()
        self.means.add("perturbation_norm", norm)

    def _shrink(self, norm: Tensor) -> Tensor:
        """Factor for each of A2 and B2: 1 inside the ball, so that nothing is rounded there."""
        rho = self.options.rho
        outside = norm > rho
        shrunk = (rho * (1.0 - _MARGIN) / norm.where(outside, torch.ones_like(norm))).sqrt()
        return shrunk.where(outside, torch.ones_like(norm))

    def evaluation(self) -> AbstractContextManager[None]:
        """Switch the auxiliary off."""
        return self.pair.auxiliary_off()

    def exporting(self) -> AbstractContextManager[None]:
        """Let `model.save_pretrained` write the primary only."""
        return self.pair.primary_saved_alone()

    def extra_memory(self) -> int:
        """The auxiliary's factors, gradients and two moments."""
        return 4 * sum(p.nbytes for p in self._auxiliary_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the auxiliary's factors, which exports leave out and a resumed run needs."""
        state = super().state_dict()
        for layer in self.pair.auxiliary:
            state[f"{layer.name}.A"] = layer.A.detach().clone()
            state[f"{layer.name}.B"] = layer.B.detach().clone()
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back the auxiliary's factors.

        Raises:
            MethodError: If the state belongs to other layers or another auxiliary rank.
        """
        super().load_state_dict(state)
        for layer in self.pair.auxiliary:
            for part, parameter in (("A", layer.A), ("B", layer.B)):
                saved = state.get(f"{layer.name}.{part}")
                if saved is None or saved.shape != parameter.shape:
                    found = "nothing" if saved is None else f"shape {tuple(saved.shape)}"
                    raise MethodError(
                        f"the checkpoint holds {found} for the auxiliary factor {layer.name}.{part}; expected "
                        f"shape {tuple(parameter.shape)}. Resume with the options the run was started with"
                    )
                parameter.copy_(saved)
