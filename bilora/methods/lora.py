"""Plain LoRA (Hu et al., ICLR 2022, arXiv 2106.09685): the baseline that every other method is compared with."""

from __future__ import annotations

from bilora.methods.base import Method


class Lora(Method):
    """LoRA: one adapter, one pass, the optimizer's own step."""

    name = "lora"
    replayable = True
    summary = "plain LoRA; no perturbation, one gradient a step"
    perturbs = "nothing"
    radius_convention = "no radius"
    cost_rule = "1"
    memory_rule = "nothing"
    source = "Hu et al., ICLR 2022, arXiv 2106.09685"
    published_cost = 1.0
