"""The LoRA factors of a PEFT model, as a flat list.

PEFT keeps the factors of every adapter inside its layers; the methods here need them layer by layer, together with the
scaling that multiplies their product.

Shapes: W (m, n), A (r, n), B (m, r); the weight change of a layer is dW = s B A with PEFT's scaling s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from peft.tuners.delora.layer import DeloraLayer
from peft.tuners.hira.layer import HiraLayer
from peft.tuners.lora import LoraLayer
from torch import nn

PRIMARY = "default"


@dataclass(frozen=True)
class LoraFactors:
    """The factors of one adapter in one layer.

    For plain LoRA the change of the weight is scaling * B A. HiRA and DeLoRA have no scaling (it is 1 here) and
    another formula, and DoRA normalises on top: `bilora.effective` knows them all.

    Attributes:
        name: Name of the layer in its model.
        A: The first factor, shape (r, n), the live parameter and no copy.
        B: The second factor, shape (m, r), likewise.
        scaling: PEFT's s; alpha / r for plain LoRA.
    """

    name: str
    A: nn.Parameter
    B: nn.Parameter
    scaling: float


def lora_factors(model: nn.Module, adapter: str = PRIMARY) -> list[LoraFactors]:
    """List the factors of an adapter over all PEFT layers of LoRA, HiRA or DeLoRA.

    Args:
        model: The model that carries it.
        adapter: Its name; "default" is what PEFT calls an adapter that nobody named.

    Returns:
        One record a layer, in module order.

    Raises:
        ValueError: If no layer of the model carries the adapter.
    """
    factors = [
        LoraFactors(name, *found)
        for name, module in model.named_modules()
        if (found := _factors(module, adapter)) is not None
    ]
    if not factors:
        raise ValueError(
            f"no LoRA layer of the model carries an adapter named {adapter!r}; attach one with PEFT "
            "(get_peft_model) or pass a LoraConfig"
        )
    return factors


def _factors(module: nn.Module, adapter: str) -> tuple[nn.Parameter, nn.Parameter, float] | None:
    if isinstance(module, LoraLayer) and adapter in module.lora_A:
        A, B = module.lora_A[adapter].weight, module.lora_B[adapter].weight
        return cast("nn.Parameter", A), cast("nn.Parameter", B), float(module.scaling[adapter])
    if isinstance(module, HiraLayer) and adapter in module.hira_A:
        return module.hira_A[adapter], module.hira_B[adapter], 1.0
    if isinstance(module, DeloraLayer) and adapter in module.delora_A:
        return module.delora_A[adapter], module.delora_B[adapter], 1.0
    return None
