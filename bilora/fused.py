"""Runs the active LoRA adapters of a layer as one adapter of their joint rank.

PEFT adds one adapter after the other, and multiplies each adapter's output, of the layer's full width, by its
scaling. Two adapters of rank r are one of rank 2r: with A = [A1; A2] and B = [s1 B1, s2 B2],

    y = W x + B (A x),

where the scaling is paid at the size of B and the sum is taken inside the product. It is the same function up to
rounding, in plain differentiable operations, so gradients of any order go through it. Parameters, names, state
dict and files stay PEFT's. A layer that is anything but plain LoRA at the moment (active dropout, DoRA and other
variants, merged or disabled adapters, biases, mixed batches) runs PEFT's own forward.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional


def fuse_adapters(model: nn.Module) -> int:
    """Let every plain LoRA layer of a PEFT model run its active adapters as one.

    Layers of other classes (quantised ones, embeddings, convolutions) are left as they are.

    Returns:
        The number of layers that will run fused.
    """
    fused = 0
    for module in model.modules():
        # Subclasses may compute something else in their forward.
        if type(module) is Linear:
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if args or kwargs or not active or not _is_plain(layer, active):
        result: Tensor = Linear.forward(layer, x, *args, **kwargs)
        return result
    base: Tensor = layer.base_layer(x)
    A = _joined([layer.lora_A[name].weight for name in active], dim=0)  # (R, n)
    B = _joined([layer.lora_B[name].weight * layer.scaling[name] for name in active], dim=1)  # (m, R)
    inner = functional.linear(layer._cast_input_dtype(x, A.dtype), A)
    if base.dtype == inner.dtype == B.dtype:
        flat = torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), B.T)
        return flat.view(base.shape)
    return (base + functional.linear(inner, B)).to(base.dtype)


def _is_plain(layer: Any, active: list[str]) -> bool:
    if layer.disable_adapters or layer.merged:
        return False
    for name in active:
        dropout = layer.lora_dropout[name]
        if isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0:
            return False
        if name in layer.lora_variant or layer.lora_bias[name]:
            return False
        if layer.lora_A[name].weight.dtype != layer.lora_A[active[0]].weight.dtype:
            return False
    return True


def _joined(parts: list[Tensor], *, dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)
