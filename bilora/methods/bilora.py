"""Bi-LoRA: an auxiliary LoRA adapter climbs while the primary descends, on one shared gradient.

Liu, Li, Huang, Yang, Huang, "Bi-LoRA: Efficient Sharpness-Aware Minimization for Fine-Tuning Large-Scale
Models" (ICLR 2026, arXiv 2508.19564) solve

    min over (B1, A1) of max over ||s B2 A2||_F <= rho of L(W0 + s B1 A1 + s B2 A2)

with one forward and backward pass per step. Here the auxiliary is a second stock PEFT adapter; its ascent is a
parameter group with `maximize=True`, no weight decay and a gradient clip of its own; after each step both its
factors are scaled back onto the ball when they have left it. The norm is taken over all layers together, with
the scaling s inside: the true change of the weights. The paper leaves the optimizer, the place of s, the
auxiliary's start and its schedule open; these are our choices, and s and the schedule have options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from bilora.devices import beside, scale_
from bilora.flat import in_one_piece
from bilora.methods.auxiliary import AuxiliaryMethod, AuxiliaryOptions
from bilora.methods.options import MethodError, boolean, nonnegative, one_of, option, optional
from bilora.shards import local_all, put, whole

CLIP_SCHEMES = ("global", "per-layer", "none")
SCHEDULES = ("primary", "constant")
# Scaling rounds every entry; a product that should lie on the sphere may then stand out of it by about one
# part in 1e7. This margin keeps the promise that the radius is never exceeded.
_MARGIN = 1e-6


@dataclass(frozen=True, kw_only=True)
class BiLoraOptions(AuxiliaryOptions):
    """Options of Bi-LoRA."""

    auxiliary_learning_rate: float | None = option(
        None, optional(nonnegative), "peak learning rate of the auxiliary; none: the primary's"
    )
    auxiliary_schedule: str = option(
        "primary",
        one_of(*SCHEDULES),
        "primary: the auxiliary's learning rate follows the scheduler; constant: it stays at its peak",
    )
    clip: str = option("global", one_of(*CLIP_SCHEMES), "projection after a step: global (one ball), per-layer, none")
    radius_includes_scaling: bool = option(
        True, boolean, "whether rho bounds ||s B2 A2||, the weight change, or (false) ||B2 A2||, as the paper prints"
    )


class BiLora(AuxiliaryMethod):
    """Bi-LoRA with global (default), per-layer or no projection of the auxiliary adapter."""

    name = "bilora"
    replayable = True
    summary = "auxiliary adapter ascends inside a weight-space ball; one gradient a step"
    memory_rule = "auxiliary factors, their gradients and optimizer moments"
    source = "Liu et al., ICLR 2026, arXiv 2508.19564"
    published_cost: ClassVar[float | None] = 1.11
    options_class = BiLoraOptions
    options: BiLoraOptions

    def parameter_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return the descending primary group and the ascending auxiliary group."""
        ascent = self.options.auxiliary_learning_rate
        self._peak = learning_rate if ascent is None else ascent
        auxiliary = {
            "params": self.auxiliary_parameters(),
            "lr": self._peak,
            "role": "auxiliary",
            **self.auxiliary_rule(weight_decay=weight_decay),
        }
        return [*super().parameter_groups(learning_rate=learning_rate, weight_decay=weight_decay), auxiliary]

    def auxiliary_rule(self, *, weight_decay: float) -> dict[str, Any]:
        """Return the optimizer's settings of the auxiliary group: ascent, without weight decay."""
        return {"weight_decay": 0.0, "maximize": True}

    def before_step(self) -> None:
        """Set the auxiliary's learning rate back to its peak, whatever a scheduler or a checkpoint made of it."""
        if self.options.auxiliary_schedule == "constant" and self._optimizer is not None:
            for group in self._optimizer.param_groups:
                if group.get("role") == "auxiliary":
                    group["lr"] = self._peak

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale both auxiliary factors by sqrt(rho / c) where the norm c of their product exceeds rho."""
        changes = self.pair.auxiliary_norms_squared()  # ||s B2 A2||^2, (layers,)
        if self.options.clip == "none":
            self.means.add("perturbation_norm", changes.sum().sqrt())
            return
        squares = changes if self.options.radius_includes_scaling else changes / self.scalings.square()
        norms = squares.sum().sqrt() if self.options.clip == "global" else squares.sqrt()
        self._shrink(norms)
        self.means.add("clip_active", (norms > self.options.rho).float().mean())
        kept = torch.where(norms > self.options.rho, self.options.rho / norms, torch.ones_like(norms))
        self.means.add("perturbation_norm", (changes * kept.square()).sum().sqrt())

    def _shrink(self, norms: Tensor) -> None:
        """Multiply A2 and B2 by a factor that is 1 inside the ball, so that nothing is rounded there."""
        rho = self.options.rho
        outside = norms > rho
        shrunk = (rho * (1.0 - _MARGIN) / norms.where(outside, torch.ones_like(norms))).sqrt()
        factors = shrunk.where(outside, torch.ones_like(norms)).to(self.pair.auxiliary[0].A.dtype)
        held = local_all(self.auxiliary_parameters())
        vector = in_one_piece(held)
        if factors.dim() == 0 and vector is not None:
            vector.mul_(factors)
            increment_version(self.auxiliary_parameters())
        elif factors.dim() == 0:
            scale_(held, factors)
        else:
            torch._foreach_mul_(held, beside([f for f in factors.unbind() for _ in range(2)], held))

    def extra_memory(self) -> int:
        """The auxiliary's factors, gradients and two moments."""
        return 4 * sum(p.nbytes for p in self.auxiliary_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the auxiliary's factors, which exports leave out and a resumed run needs."""
        state = super().state_dict()
        for layer in self.pair.auxiliary:
            state[f"{layer.name}.A"] = whole(layer.A).clone()
            state[f"{layer.name}.B"] = whole(layer.B).clone()
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
                put(parameter, saved)
