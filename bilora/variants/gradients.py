"""Gradients of the plain model's weights, before an adapter is attached."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import _maybe_include_all_linear_layers, check_target_module_exists
from torch import Tensor, nn

from bilora.variants.base import VariantError


def estimate_gradients(
    model: nn.Module, config: LoraConfig, forward_backward: Callable[[], Any], *, smallest: int
) -> dict[str, Tensor]:
    """Return the sum of dL/dW over what `forward_backward` runs, fp32, shape (m, n), by the layer's name.

    Gradients are taken layer by layer as a backward pass reaches them, and kept in fp32 beside the weight, so that
    no second copy of all gradients exists in the model's own precision. The model is left as it was found.

    Args:
        model: A plain model.
        config: Says which layers will be adapted.
        forward_backward: Runs one or more forward and backward passes.
        smallest: How many rows and columns a layer must have.

    Raises:
        VariantError: If a layer to be adapted is not linear, has fewer rows or columns, or got no gradient.
    """
    layers = adapted_linears(model, config, smallest=smallest)
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    sums: dict[int, Tensor] = {}

    def collect(weight: Tensor) -> None:
        gradient = weight.grad
        if gradient is not None:
            sums[id(weight)] = sums[id(weight)] + gradient if id(weight) in sums else gradient.float()
            weight.grad = None

    model.requires_grad_(False)
    model.zero_grad()
    hooks = []
    try:
        for layer in layers.values():
            layer.weight.requires_grad_(True)
            hooks.append(layer.weight.register_post_accumulate_grad_hook(collect))  # type: ignore[no-untyped-call]
        with torch.enable_grad():
            forward_backward()
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, requires_grad, gradient in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
    missing = [name for name, layer in layers.items() if id(layer.weight) not in sums]
    if missing:
        raise VariantError(
            f"forward_backward left no gradient in {len(missing)} of {len(layers)} layers, the first being "
            f"{missing[0]}; it must run the plain model and call backward on its loss"
        )
    return {name: sums[id(layer.weight)] for name, layer in layers.items()}


def adapted_linears(model: nn.Module, config: LoraConfig, *, smallest: int) -> dict[str, nn.Linear]:
    """Return the layers that PEFT would adapt, by name; errors as for `estimate_gradients`."""
    # PEFT resolves "all-linear" by this function only, when it attaches.
    resolved = _maybe_include_all_linear_layers(copy.deepcopy(config), model)
    found: dict[str, nn.Linear] = {}
    for name, module in model.named_modules():
        if not check_target_module_exists(resolved, name):
            continue
        if not isinstance(module, nn.Linear):
            raise VariantError(f"{name} is a {type(module).__name__}; gradients are estimated for torch.nn.Linear")
        if min(module.weight.shape) < smallest:
            raise VariantError(
                f"{name} has a weight of shape {tuple(module.weight.shape)}, too small for {smallest} singular "
                f"vectors; choose rank <= {min(module.weight.shape) // 2}"
            )
        found[name] = module
    if not found:
        raise VariantError(f"target_modules {config.target_modules!r} matches no module of the model")
    return found
