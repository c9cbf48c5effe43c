"""The change that an adapter makes to its layer's weight matrix, whatever the adapter is.

Sharpness, radii and distances can be compared only in the space of the weights, and PEFT's `get_delta_weight` does
not give it: for HiRA it returns the factor of W, for DoRA it leaves out the normalisation. Here every variant has
one formula from its parameters to the merged weight minus the base weight:

    LoRA, PiSSA, LoRA-GA   s B A
    DoRA                   m / ||W + s B A||_row * (W + s B A) - W        (m one magnitude per output row)
    HiRA                   W * (B A)                                      (elementwise)
    DeLoRA                 B diag(lambda / (r ||a_i|| ||b_i||)) A diag(||W||_column)

Each forms one (m, n) matrix. Only linear layers have it; convolutions and embeddings are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from peft.tuners.delora.layer import DeloraLayer
from peft.tuners.hira.layer import HiraLayer
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

# PEFT bounds the norms of DeLoRA's rows and columns from below by this.
_DELORA_SMALLEST_NORM = 1e-4


@dataclass(frozen=True)
class AdaptedLayer:
    """One layer's adapter as a map from its parameters to the change of the weight.

    Attributes:
        name: Name of the layer in its model.
        parameters: The live parameters the change depends on, in the formula's order.
        formula: Takes one tensor for each parameter and returns the change (m, n).
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    formula: Callable[..., Tensor]

    @torch.no_grad()
    def change(self, values: Sequence[Tensor] | None = None) -> Tensor:
        """Return the change (m, n) of the weight at the present parameters, or at other values of them.

        At least fp32, whatever the parameters are stored in.
        """
        given = [p.detach() for p in self.parameters] if values is None else values
        result: Tensor = self.formula(*[precise(value) for value in given])
        return result


def effective_change(layer: nn.Module, adapter: str, *, start: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return the merged weight minus the base weight, shape (m, n) = (out, in), fp32 or better.

    Args:
        layer: A linear layer of PEFT: LoRA (any start), DoRA, HiRA or DeLoRA; the base may be quantised.
        adapter: Name of the adapter in it.
        start: (A0, B0) whose product s B0 A0 was taken out of the base weight before training, as PiSSA and LoRA-GA
            do (`bilora.residual_base.start_factors` knows them): the change is then relative to the original weight,
            s (B A - B0 A0).

    Raises:
        ValueError: If the layer is not one of these, has no such adapter, or if a start is given for a variant that
            leaves the base as it is.
    """
    change = adapted_layer("", layer, adapter).change()
    if start is None:
        return change
    if not is_plain_lora(layer, adapter):
        raise ValueError("start goes with plain LoRA factors (PiSSA, LoRA-GA); this layer's base was not changed")
    A0, B0 = (precise(value.detach()) for value in start)
    return change - float(cast("Any", layer).scaling[adapter]) * (B0 @ A0)


def adapted_layer(name: str, layer: nn.Module, adapter: str) -> AdaptedLayer:
    """Return the formula of `adapter` in a PEFT layer; errors as for `effective_change`."""
    module = cast("Any", layer)
    if isinstance(layer, LoraLayer) and adapter in layer.lora_A:
        A, B = module.lora_A[adapter].weight, module.lora_B[adapter].weight
        scaling = float(module.scaling[adapter])
        if A.dim() == 2 and adapter not in module.lora_variant:
            return AdaptedLayer(name, (A, B), partial(_lora, scaling=scaling))
        if A.dim() == 2 and module.use_dora.get(adapter, False):
            magnitude = module.lora_magnitude_vector[adapter].weight
            return AdaptedLayer(name, (A, B, magnitude), partial(_dora, layer=layer, scaling=scaling))
    elif isinstance(layer, HiraLayer) and adapter in layer.hira_A and module.hira_A[adapter].dim() == 2:
        return AdaptedLayer(name, (module.hira_A[adapter], module.hira_B[adapter]), partial(_hira, layer=layer))
    elif isinstance(layer, DeloraLayer) and adapter in layer.delora_A:
        parameters = (module.delora_A[adapter], module.delora_B[adapter], module.delora_lambda[adapter])
        column_norms = precise(module.delora_w_norm[adapter].detach())
        return AdaptedLayer(name, parameters, partial(_delora, column_norms=column_norms))
    raise ValueError(
        f"no formula for the weight change of adapter {adapter!r} in a layer of type {type(layer).__name__}; "
        "expected a linear layer of PEFT with a LoRA, DoRA, HiRA or DeLoRA adapter of that name"
    )


def adapted_layers(model: nn.Module, adapter: str) -> list[AdaptedLayer]:
    """Return the formulas of `adapter` over all layers that carry it, in module order."""
    return [
        adapted_layer(name, module, adapter)
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer | HiraLayer | DeloraLayer) and _carries(module, adapter)
    ]


def is_plain_lora(layer: nn.Module, adapter: str) -> bool:
    """Whether the adapter's change of the layer's weight is scaling * B A."""
    return isinstance(layer, LoraLayer) and adapter in layer.lora_A and adapter not in layer.lora_variant


def base_weight(layer: nn.Module) -> Tensor:
    """Return the weight (m, n) of a PEFT layer's base, fp32 or better; a 4-bit weight is unpacked."""
    module = cast("Any", layer)
    weight = precise(dequantize_module_weight(module.get_base_layer()).detach())
    return weight.T if getattr(module, "fan_in_fan_out", False) else weight


def _carries(layer: Any, adapter: str) -> bool:
    return any(adapter in getattr(layer, kind, ()) for kind in ("lora_A", "hira_A", "delora_A"))


def precise(value: Tensor) -> Tensor:
    """Return the tensor in fp32, or in fp64 if that is what it is."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _lora(A: Tensor, B: Tensor, *, scaling: float) -> Tensor:
    return scaling * (B @ A)


def _dora(A: Tensor, B: Tensor, magnitude: Tensor, *, layer: nn.Module, scaling: float) -> Tensor:
    W = base_weight(layer)
    direction = W + scaling * (B @ A)
    lengths: Tensor = torch.linalg.vector_norm(direction, dim=1)
    return direction * (magnitude / lengths)[:, None] - W


def _hira(A: Tensor, B: Tensor, *, layer: nn.Module) -> Tensor:
    return base_weight(layer) * (B @ A)


def _delora(A: Tensor, B: Tensor, strength: Tensor, *, column_norms: Tensor) -> Tensor:
    rows: Tensor = torch.linalg.vector_norm(A, dim=1).clamp_min(_DELORA_SMALLEST_NORM)
    columns: Tensor = torch.linalg.vector_norm(B, dim=0).clamp_min(_DELORA_SMALLEST_NORM)
    return (B * (strength / (len(A) * rows * columns))) @ A * column_norms
