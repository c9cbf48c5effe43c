"""The linear layers of a model that carry one active LoRA adapter, found by name.

Spaces need the base weight W0 (m, n), the factors A (r, n) and B (m, r) and the scaling s of every adapted layer, where
the layer computes x (W0 + s B A)^T. What does not have that form is refused by name: several active adapters,
a merged or disabled adapter, DoRA and other variants, convolutions, embeddings, tied weights. PEFT's layers are
recognised by their attributes, so that importing this package does not import PEFT and transformers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from analysis.errors import SpaceError


@dataclass(frozen=True, eq=False)
class AdaptedLayer:
    """One linear layer with one active LoRA adapter.

    Attributes:
        name: Dotted name of the layer in the model.
        weight: W0 (m, n), the base weight.
        A: First factor (r, n).
        B: Second factor (m, r).
        scaling: s, usually alpha / r; the layer's matrix is W = W0 + s B A.
    """

    name: str
    weight: Tensor
    A: Tensor
    B: Tensor
    scaling: float

    def row_norms(self) -> Tensor:
        """Return the norms (m,) of the rows of W, without forming the product B A."""
        weight, a, b = (t.detach().double() for t in (self.weight, self.A, self.B))
        cross = ((weight @ a.mT) * b).sum(dim=1)
        own = ((b @ (a @ a.mT)) * b).sum(dim=1)
        squared = weight.square().sum(dim=1) + 2 * self.scaling * cross + self.scaling**2 * own
        return squared.clamp_min(0.0).sqrt()


def adapted_layers(model: nn.Module) -> list[AdaptedLayer]:
    """Return the adapted layers of a model in the order of its modules; an empty list if there are none.

    Raises:
        SpaceError: A layer is not of the form x (W0 + s B A)^T with exactly one active adapter.
    """
    owners = Counter(id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False))
    layers = []
    for name, module in model.named_modules():
        if not (hasattr(module, "lora_A") and hasattr(module, "base_layer")):
            continue
        layer = _adapted_layer(name, module)
        if layer is None:
            continue
        if owners[id(layer.weight)] > 1:
            raise SpaceError(
                f"the base weight of {name} is tied to another module, so it has no merged matrix of its own; "
                "leave it out of target_modules, or untie it"
            )
        layers.append(layer)
    return layers


def _adapted_layer(name: str, module: Any) -> AdaptedLayer | None:
    """Return the record of one PEFT layer, or None if no active adapter covers it."""
    if len(module.lora_embedding_A) > 0:
        raise SpaceError(f"{name} is an adapted embedding; only adapted nn.Linear layers are supported")
    active = [adapter for adapter in module.active_adapters if adapter in module.lora_A]
    if not active:
        return None
    if len(active) > 1:
        raise SpaceError(
            f"{name} has {len(active)} active adapters ({', '.join(active)}); expected one: switch the others "
            "off with model.set_adapter(NAME)"
        )
    if module.disable_adapters or module.merged:
        state = "disabled" if module.disable_adapters else "merged into the base weight"
        raise SpaceError(f"the adapter of {name} is {state}; enable or unmerge it before measuring")
    adapter = active[0]
    variant = module.lora_variant.get(adapter)
    if variant is not None:
        kind = getattr(variant, "__name__", type(variant).__name__)
        raise SpaceError(f"{name} uses {kind}, whose matrix is not W0 + s B A; merge the adapter and measure that")
    base = module.base_layer
    if not isinstance(base, nn.Linear) or not isinstance(module.lora_A[adapter], nn.Linear):
        raise SpaceError(f"{name} adapts a {type(base).__name__}; only adapted nn.Linear layers are supported")
    first, second = module.lora_A[adapter].weight, module.lora_B[adapter].weight
    return AdaptedLayer(name, base.weight, first, second, scaling=float(module.scaling[adapter]))
