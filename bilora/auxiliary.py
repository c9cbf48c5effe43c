"""Where Bi-LoRA's auxiliary factors live: a second PEFT adapter, or factors of our own beside the layer.

Beside a LoRA adapter (any start, DoRA too) the auxiliary is a second, plain LoRA adapter of PEFT. PEFT's other kinds
of adapter cannot share a model with LoRA, so beside HiRA and DeLoRA the auxiliary is a pair of factors for each
layer, and a hook on the layer adds s B2 A2 x to what it returns. Either way the auxiliary stands outside the primary's
parametrisation: it adds to the merged weight and is neither normalised by DoRA nor multiplied by W as HiRA's own
factors are, so that ||s B2 A2||_F is the change of the weight that Bi-LoRA's radius speaks of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

AUXILIARY = "auxiliary"


def add_peft_auxiliary(model: PeftModel, primary: str, *, rank: int | None) -> None:
    """Add the auxiliary as a second PEFT adapter on the primary's layers, with the primary's scaling in each.

    Args:
        model: PEFT model with a LoRA adapter.
        primary: Name of that adapter.
        rank: Rank of the auxiliary; None takes the primary's.
    """
    # PEFT's classifiers would give the second adapter a copy of the head, and two heads cannot be active together.
    PeftModel.add_adapter(model, AUXILIARY, _auxiliary_config(model.peft_config[primary], rank=rank))
    for module in model.modules():
        if isinstance(module, LoraLayer) and AUXILIARY in module.scaling:
            # Whatever ranks, patterns or rsLoRA made of it.
            module.scaling[AUXILIARY] = module.scaling[primary]


def set_active(model: PeftModel, adapters: list[str]) -> None:
    """Make these adapters active and trainable, and all others neither."""
    # PeftModel.set_adapter takes a single name; the tuner below it takes a list.
    set_adapter = cast("Callable[[list[str]], None]", model.base_model.set_adapter)
    set_adapter(adapters)


def _auxiliary_config(primary: LoraConfig, *, rank: int | None) -> LoraConfig:
    """The auxiliary is plain LoRA on the primary's layers, without its parametrisation (DoRA) and its start (PiSSA)."""
    return LoraConfig(
        r=primary.r if rank is None else rank,
        lora_alpha=primary.lora_alpha,
        lora_dropout=0.0,
        target_modules=primary.target_modules,
        exclude_modules=primary.exclude_modules,
        layers_to_transform=primary.layers_to_transform,
        layers_pattern=primary.layers_pattern,
        task_type=primary.task_type,
    )


class AuxiliaryFactors(nn.Module):
    """Factors A (r, n) and B (m, r), and whether they take part in the forward pass."""

    def __init__(self, A: Tensor, B: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(B)
        self.active = True

    def forward(self, x: Tensor) -> Tensor:
        """Return B A x, in the factors' precision unless autocast chooses one."""
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(self.A.dtype)
        return functional.linear(functional.linear(x, self.A), self.B)


def add_hooked_auxiliary(
    model: PeftModel, layers: Sequence[Any], primary: str, *, rank: int | None
) -> list[AuxiliaryFactors]:
    """Give each layer auxiliary factors of its own, A as LoRA draws it and B = 0, with scaling s = 1.

    PEFT's HiRA and DeLoRA have no scaling that could be shared.

    The factors are parameters of the model but not of its layers, since PEFT takes all that is inside a layer for a
    part of the adapter and would save it.

    Args:
        model: PEFT model that gets the factors as its `auxiliary`.
        layers: Its HiRA or DeLoRA layers, on linear bases.
        primary: Name of their adapter.
        rank: Rank of the auxiliary; None takes the primary's.

    Raises:
        ValueError: If the model already carries auxiliary factors.
    """
    if AUXILIARY in dict(model.named_children()):
        raise ValueError("the model already carries auxiliary factors; load it anew")
    added = []
    for layer in layers:
        A_weight = (layer.hira_A if hasattr(layer, "hira_A") else layer.delora_A)[primary]
        A = torch.empty(layer.r[primary] if rank is None else rank, layer.in_features)
        nn.init.kaiming_uniform_(A, a=math.sqrt(5))
        factors = AuxiliaryFactors(A, torch.zeros(layer.out_features, len(A))).to(A_weight)
        # In a tuple, so that the layer does not register them. The hook is a plain function that finds them in the
        # layer it is given, so that copies of the model are whole.
        layer._auxiliary = (factors,)
        layer.register_forward_hook(_add_auxiliary)
        added.append(factors)
    model.add_module(AUXILIARY, nn.ModuleList(added))
    return added


def _add_auxiliary(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    (factors,) = layer._auxiliary
    if not factors.active or layer.disable_adapters:
        return output
    change: Tensor = factors(inputs[0])
    return output + change.to(output.dtype)
