"""Runs the active LoRA adapters of a layer as one adapter of their joint rank.

PEFT adds one adapter after the other, and multiplies each adapter's output, of the layer's full width, by its
scaling. Two adapters of rank r are one of rank 2r: with A = [A1; A2] and B = [s1 B1, s2 B2],

    y = W x + B (A x),

where the scaling is paid at the size of B and the sum is taken inside the product. It is the same function up to
rounding. In eager mode, and wherever more than first gradients may be asked for, it runs plain differentiable
operations; in layers compiled for training it is one operator, see `bilora.pair_product`, to which factors kept in
fp32 are cast once. Parameters, names, state dict and files stay PEFT's. A layer that is anything but plain LoRA at the
moment (active dropout, DoRA and other variants, merged or disabled adapters, biases, mixed batches) runs PEFT's own
forward.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional

from bilora.pair_product import pair_product


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
            # A class rather than a method of the instance: compiled layers share one graph by class.
            module.__class__ = FusedLinear
        fused += type(module) is FusedLinear
    return fused


class FusedLinear(Linear):
    """PEFT's LoRA on a linear layer, with its active adapters run as one."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the layer's output, PEFT's up to rounding."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        if args or kwargs or x.dim() < 2 or not active or not _is_plain(self, active):
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        A = _joined([self.lora_A[name].weight for name in active], dim=0)  # (R, n)
        B = _joined([self.lora_B[name].weight * self.scaling[name] for name in active], dim=1)  # (m, R)
        if torch.compiler.is_compiling() and self.training and _is_frozen(self.base_layer, x):
            base = self.base_layer
            bias = [] if base.bias is None else [base.bias]
            output: Tensor = pair_product(x, [base.weight], bias, A.to(x.dtype), [B.to(x.dtype)])[0]
            return output
        output = self.base_layer(x)
        inner = functional.linear(self._cast_input_dtype(x, A.dtype), A)
        if output.dtype == inner.dtype == B.dtype:
            flat = torch.addmm(output.flatten(0, -2), inner.flatten(0, -2), B.T)
            return flat.view(output.shape)
        return (output + functional.linear(inner, B)).to(output.dtype)


def _is_plain(layer: Any, active: list[str]) -> bool:
    if layer.disable_adapters or layer.merged:
        return False
    for name in active:
        if _is_hooked(layer.lora_A[name]) or _is_hooked(layer.lora_B[name]):
            return False
        dropout = layer.lora_dropout[name]
        if isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0:
            return False
        if name in layer.lora_variant or layer.lora_bias[name]:
            return False
        if layer.lora_A[name].weight.dtype != layer.lora_A[active[0]].weight.dtype:
            return False
    return True


def _is_frozen(base: Any, x: Tensor) -> bool:
    """Whether a layer's product is a constant weight's, in the type of its input: no trained base."""
    return (
        type(base) is nn.Linear
        and not _is_hooked(base)
        and base.weight.dtype == x.dtype
        and not base.weight.requires_grad
        and (base.bias is None or not base.bias.requires_grad)
        and _same_under_autocast(x)
    )


def _same_under_autocast(x: Tensor) -> bool:
    """Whether autocast is off, or would multiply in the type that is there anyway (a bf16 base trained with bf16)."""
    kind = x.device.type
    return not torch.is_autocast_enabled(kind) or torch.get_autocast_dtype(kind) == x.dtype


def _is_hooked(module: nn.Module) -> bool:
    """Whether calling a module does more than its class says."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return "forward" in module.__dict__ or any(hooks)


def _joined(parts: list[Tensor], *, dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)
