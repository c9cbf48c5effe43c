"""Which layers of a model compute the same function of arguments and weights, so that one compiled function serves all.

Two layers are of one kind if their modules have the same types and attributes and their tensors the same shapes; the
number a layer has in its model is left out. The function is compiled for a copy without weights, in which layer norms
are written out: PyTorch's own derivative of a layer norm's derivative, differentiated once more, is wrong, because
it takes mean and variance for constants.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import SettingsError
from analysis.vectors import working_dtype

# A layer's number or name in its model means nothing without a cache of keys and values.
_POSITION = frozenset(("layer_idx", "layer_index", "layer_id", "target_name"))
# What a module is made of is compared apart, and how it is run is decided by a curvature product.
_RUN = frozenset(("forward", "gradient_checkpointing", "_gradient_checkpointing_func"))
_NO_SETTING = _POSITION | _RUN | frozenset(vars(nn.Module()))


def layer_kind(layer: nn.Module) -> Hashable:
    """Return what is equal for two layers that compute the same function of arguments and weights."""
    modules = tuple(
        (
            name,
            type(module),
            tuple((key, frozen(value)) for key, value in sorted(vars(module).items()) if key not in _NO_SETTING),
        )
        for name, module in layer.named_modules()
    )
    tensors = tuple(
        (name, tuple(tensor.shape), tensor.dtype, tensor.device)
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers())
    )
    return modules, tensors


def frozen(value: Any) -> Hashable:
    """Return a key that is equal for equal settings; objects that are not plain values are equal to themselves only."""
    if isinstance(value, bool | int | float | complex | str | bytes | None | torch.dtype | torch.device):
        return type(value).__name__, value
    if isinstance(value, Mapping):
        return "mapping", tuple((frozen(key), frozen(part)) for key, part in value.items() if key not in _NO_SETTING)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value).__name__, tuple(frozen(part) for part in value)
    return type(value).__name__, id(value)


def without_weights(layer: nn.Module) -> nn.Module:
    """Return a copy of a layer in evaluation mode whose parameters and buffers have a shape only."""
    memory: dict[int, Any] = {
        id(p): nn.Parameter(p.detach().to("meta"), requires_grad=False) for p in layer.parameters()
    }
    memory |= {id(buffer): buffer.detach().to("meta") for buffer in layer.buffers()}
    # What a curvature product has put in the layer's place is no part of it.
    replaced = vars(layer).pop("forward", None)
    try:
        template = copy.deepcopy(layer, memory).eval()
    finally:
        if replaced is not None:
            layer.forward = replaced
    for module in template.modules():
        if type(module) is nn.LayerNorm:
            module.forward = partial(_layer_norm, module)  # type: ignore[method-assign]
    return template


def refuse_hooks(layer: nn.Module, forward: Callable[..., Any]) -> None:
    """Refuse a layer to which something is attached that a copy of its kind would leave out.

    Args:
        layer: The layer.
        forward: What it runs, apart from what a curvature product has put in its place.

    Raises:
        SettingsError: A module has hooks, or a forward that is not its type's.
    """
    for name, module in layer.named_modules():
        if name:
            changed = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        else:
            # The layer's own hooks are run around whatever stands for its forward.
            changed = getattr(forward, "__func__", None) is not type(layer).forward
        if changed:
            raise SettingsError(
                f"{name or type(layer).__name__} cannot be compiled, since a hook or another forward is attached to it "
                "(the full space of an adapter that is not plain LoRA does so, recording hidden states may have); "
                "leave compile_layers off"
            )


def _layer_norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    dims = tuple(range(-len(module.normalized_shape), 0))
    wide = x.to(working_dtype(x.dtype))
    centred = wide - wide.mean(dims, keepdim=True)
    normed = centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + module.eps)
    if module.weight is not None:
        normed = normed * module.weight
    if module.bias is not None:
        normed = normed + module.bias
    return normed.to(x.dtype)
