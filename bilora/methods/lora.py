"""Plain LoRA (Hu et al., ICLR 2022, arXiv 2106.09685): the baseline that every other method is compared with."""

from __future__ import annotations

from typing import Any

from bilora.methods.base import Method


class Lora(Method):
    """LoRA: one adapter, one pass, the optimizer's own step."""

    name = "lora"
    summary = "plain LoRA; no perturbation, one gradient a step"
    radius_convention = "no radius"

    def parameter_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return one group with every trainable parameter."""
        return [{"params": self.trained_parameters(), "lr": learning_rate, "weight_decay": weight_decay}]
