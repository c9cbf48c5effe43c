"""The linear layers of a model that carry a LoRA adapter, found by name.

Spaces need the base weight W0 (m, n), the factors A (r, n) and B (m, r) and the scaling s of every adapted layer, where
the layer computes x (W0 + s B A)^T. With a second adapter active, as Bi-LoRA's auxiliary, the sum has one more term,
and the factors are those of the adapter that was asked for. What does not have that form is refused by name: merged or
disabled adapters, DoRA and other variants, convolutions, embeddings, tied weights. PEFT's layers are recognised
by their attributes, so that importing this package does not import PEFT and transformers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import SpaceError
from analysis.spaces.response import effective_weight
from analysis.vectors import working_dtype

AUXILIARY = "auxiliary"
"""Name of the second of two active adapters, whose space has a name of its own."""


@dataclass(frozen=True, eq=False)
class AdaptedLayer:
    """One linear layer with a LoRA adapter.

    Attributes:
        name: Dotted name of the layer in the model.
        weight: W0 (m, n), the base weight.
        A: First factor (r, n).
        B: Second factor (m, r).
        scaling: s, usually alpha / r; the layer's matrix is W = W0 + s B A, plus the products of `others`.
        others: (A, B, s) of the layer's other active adapters.
        adapter: Name of the adapter whose factors A and B are.
        base: The base layer, which is asked for its matrix where `weight` is packed in 4 or 8 bits.
    """

    name: str
    weight: Tensor
    A: Tensor
    B: Tensor
    scaling: float
    others: tuple[tuple[Tensor, Tensor, float], ...] = ()
    adapter: str = "default"
    base: nn.Module | None = None

    def base_weight(self) -> Tensor:
        """Return W0 (m, n) in the working type, a tensor of its own."""
        if self.weight.is_floating_point() or self.base is None:
            return self.weight.detach().to(working_dtype(self.weight.dtype), copy=True)
        dtype = working_dtype(self.A.dtype)
        return effective_weight(self.base, self.A.shape[1], dtype=dtype, device=self.weight.device)

    def merged(self) -> Tensor:
        """Return W (m, n) in the working type."""
        weight = self.base_weight()
        for A, B, scaling in ((self.A, self.B, self.scaling), *self.others):
            weight += scaling * (B.detach() @ A.detach()).to(weight.dtype)
        return weight

    def row_norms(self) -> Tensor:
        """Return the norms (m,) of the rows of W, without forming a product B A."""
        products = ((self.A, self.B, self.scaling), *self.others)
        weight = self.base_weight().double()
        a = torch.cat([A.detach().double() for A, _, _ in products])
        b = torch.cat([s * B.detach().double() for _, B, s in products], dim=1)
        cross = ((weight @ a.mT) * b).sum(dim=1)
        own = ((b @ (a @ a.mT)) * b).sum(dim=1)
        squared = weight.square().sum(dim=1) + 2 * cross + own
        return squared.clamp_min(0.0).sqrt()


def tuner_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield name and module of every PEFT layer that has an active adapter of its own, in the order of the modules."""
    for name, module in model.named_modules():
        if hasattr(module, "base_layer") and hasattr(module, "active_adapters"):
            held = {key for part in module.adapter_layer_names for key in getattr(module, part, ())}
            if held & set(module.active_adapters):
                yield name, module


def kind_of(module: Any) -> str:
    """Return what to call a PEFT layer in a message: LoRA, its variant's class, or the tuner it belongs to."""
    if not hasattr(module, "lora_A"):
        return str(type(module).__module__.split(".")[-2]).upper()
    variants = [module.lora_variant[key] for key in module.active_adapters if key in module.lora_variant]
    return next((getattr(v, "__name__", type(v).__name__) for v in variants), "LoRA")


def adapted_layers(model: nn.Module, *, adapter: str | None = None) -> list[AdaptedLayer]:
    """Return the adapted layers of a model in the order of its modules; an empty list if there are none.

    Args:
        model: Any module.
        adapter: Whose factors; an adapter that is not active may be named. None takes the only active one, or the
            other one if two are active and one of them is called "auxiliary".

    Raises:
        SpaceError: A layer is not of the form x (W0 + s B A)^T, several adapters are active, or none has that name.
    """
    owners = Counter(id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False))
    layers, known = [], set()
    for name, module in model.named_modules():
        if not (hasattr(module, "lora_A") and hasattr(module, "base_layer")):
            continue
        known |= set(module.lora_A)
        layer = _adapted_layer(name, module, adapter)
        if layer is None:
            continue
        if owners[id(layer.weight)] > 1:
            raise SpaceError(
                f"the base weight of {name} is tied to another module, so it has no merged matrix of its own; "
                "leave it out of target_modules, or untie it"
            )
        layers.append(layer)
    if adapter is not None and not layers:
        near = get_close_matches(adapter, sorted(known), n=1, cutoff=0.0)
        hint = f"; the nearest is {near[0]!r}" if near else "; it has none at all"
        raise SpaceError(f"no layer of the model carries an adapter named {adapter!r}{hint}")
    return layers


def _adapted_layer(name: str, module: Any, wanted: str | None) -> AdaptedLayer | None:
    """Return the record of one PEFT layer, or None if the adapter does not cover it."""
    if len(module.lora_embedding_A) > 0:
        raise SpaceError(f"{name} is an adapted embedding; only adapted nn.Linear layers are supported")
    active = [adapter for adapter in module.active_adapters if adapter in module.lora_A]
    chosen = _chosen(name, active, wanted)
    if chosen is None or chosen not in module.lora_A:
        return None
    if module.disable_adapters or module.merged:
        state = "disabled" if module.disable_adapters else "merged into the base weight"
        raise SpaceError(f"the adapter of {name} is {state}; enable or unmerge it before measuring")
    if kind_of(module) != "LoRA":
        raise SpaceError(
            f"{name} uses {kind_of(module)}, whose matrix is not W0 + s B A; measure in the full space instead"
        )
    base = module.base_layer
    if not isinstance(base, nn.Linear) or not isinstance(module.lora_A[chosen], nn.Linear):
        raise SpaceError(f"{name} adapts a {type(base).__name__}; only adapted nn.Linear layers are supported")
    (A, B, scaling), *others = (_product(module, key) for key in (chosen, *(a for a in active if a != chosen)))
    if (A.shape[1], B.shape[0]) != (base.in_features, base.out_features):
        raise SpaceError(
            f"the adapter of {name} is made for a layer {A.shape[1]} -> {B.shape[0]}, but its base layer is "
            f"{base.in_features} -> {base.out_features}; load the adapter onto the model that it was trained on"
        )
    return AdaptedLayer(name, base.weight, A, B, scaling, tuple(others), chosen, base)


def _chosen(name: str, active: list[str], wanted: str | None) -> str | None:
    """Return the adapter whose factors are meant."""
    if wanted is not None:
        return wanted
    primary = [adapter for adapter in active if adapter != AUXILIARY] if len(active) > 1 else active
    if len(primary) > 1:
        raise SpaceError(
            f"{name} has {len(active)} active adapters ({', '.join(active)}); expected one, or one beside "
            f"{AUXILIARY!r}: pass adapter=NAME, or switch the others off with model.set_adapter(NAME)"
        )
    return primary[0] if primary else None


def _product(module: Any, adapter: str) -> tuple[Tensor, Tensor, float]:
    return module.lora_A[adapter].weight, module.lora_B[adapter].weight, float(module.scaling[adapter])


@contextmanager
def activated(model: nn.Module, adapter: str | None) -> Iterator[None]:
    """Add an adapter to the active ones of every layer that carries it, and restore the lists afterwards.

    PEFT's own `set_adapter` would also change which parameters require a gradient.
    """
    carriers: list[Any] = [
        module
        for module in model.modules()
        if hasattr(module, "base_layer") and adapter in getattr(module, "lora_A", ())
    ]
    changed = [(module, module._active_adapter) for module in carriers if adapter not in module.active_adapters]
    try:
        for module, _ in changed:
            module._active_adapter = [*module.active_adapters, adapter]
        yield
    finally:
        for module, before in changed:
            module._active_adapter = before
