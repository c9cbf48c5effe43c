"""Adapters whose start was taken out of the base weight, and how they come back to the original base.

PiSSA, LoRA-GA and their kind begin at factors A0, B0 with a product, and keep the function by changing the base to
the residual W - s B0 A0. A file with A and B alone then means nothing on the original base. The start is therefore
kept beside the factors, and what is saved is the plain LoRA adapter of twice the rank that does the same to W:

    s (B A - B0 A0) = s [B, -B0] [A; A0]

Every file, checkpoints included, so is an ordinary PEFT adapter for the original base, and it also holds all that a
resumed run needs: its first half is the present factors, its second half the start.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils import transpose
from safetensors.torch import load_file
from torch import Tensor, nn

from bilora.effective import precise

ADAPTER_WEIGHTS = "adapter_model.safetensors"
#: Values of LoraConfig.init_lora_weights (or their beginnings) with which PEFT changes the base weight.
_CHANGES_BASE = ("pissa", "olora", "corda", "lora_ga")

State = dict[str, Tensor]


def changes_base(config: Any) -> bool:
    """Whether PEFT takes the start of a plain LoRA adapter of this configuration out of the base weights."""
    return (
        isinstance(config, LoraConfig)
        and not config.use_dora
        and str(config.init_lora_weights).startswith(_CHANGES_BASE)
    )


def record_start(model: nn.Module, adapter: str) -> None:
    """Keep the present factors of `adapter` as those whose product is missing from the base weights."""
    for layer in _layers(model, adapter):
        # Buffers follow the model to another device; not being persistent they are no part of any state dict.
        layer.register_buffer("start_A", layer.lora_A[adapter].weight.detach().clone(), persistent=False)
        layer.register_buffer("start_B", layer.lora_B[adapter].weight.detach().clone(), persistent=False)


def start_factors(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return (A0, B0) if their product was taken out of the layer's base weight, else None."""
    found = getattr(layer, "start_A", None), getattr(layer, "start_B", None)
    return None if found[0] is None or found[1] is None else (found[0], found[1])


@torch.no_grad()
def take_out(layer: Any, adapter: str, A0: Tensor, B0: Tensor) -> None:
    """Start `adapter` of a layer at (A0, B0), and change the base weight to W - s B0 A0."""
    A, B = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    A.copy_(A0)
    B.copy_(B0)
    # After the factors are rounded to what they are stored in, so that the function is kept.
    _shift_base(layer, -layer.scaling[adapter] * (precise(B) @ precise(A)))


@contextmanager
def primary_saved(model: PeftModel, adapter: str) -> Iterator[None]:
    """Let `model.save_pretrained` write `adapter` only, for the original base, whoever calls it.

    Args:
        model: The model whose method is replaced inside the context.
        adapter: The one that is saved. Unselected, PEFT writes a folder for each; a Trainer calls it without a
            selection.
    """
    model.save_pretrained = partial(_save, model, adapter)
    try:
        yield
    finally:
        del model.save_pretrained


def _save(model: PeftModel, adapter: str, folder: str, **options: Any) -> None:
    save = partial(PeftModel.save_pretrained, model, folder, **{**options, "selected_adapters": [adapter]})
    if not any(start_factors(layer) for layer in _layers(model, adapter)):
        save()
        return
    config = model.peft_config[adapter]
    model.peft_config[adapter] = _doubled(cast("LoraConfig", config))
    try:
        save(state_dict=_joined(model, adapter, options.get("state_dict") or model.state_dict()))
    finally:
        model.peft_config[adapter] = config


def load_primary(model: PeftModel, folder: str | Path, adapter: str) -> None:
    """Load an adapter that was saved here into the live parameters, without re-adding it.

    PEFT's own `load_adapter` would change which adapters are active. Where the base is a residual the file's second
    half says of what start. If it is another one than this model's (LoRA-GA's depends on a gradient), the base
    is moved to it, equal up to rounding; with the same start nothing is rounded.

    Raises:
        FileNotFoundError: If the folder holds no adapter.
    """
    state = read_factors(folder)
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer) and start_factors(layer) is not None:
            _load_start(name, layer, adapter, state)
    with torch.no_grad():
        set_peft_model_state_dict(model, state, adapter_name=adapter)


def read_start(folder: str | Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the start (A0, B0) of every layer from an adapter that was saved here, by the layer's name in the base.

    Raises:
        FileNotFoundError: If the folder holds no adapter.
    """
    state = read_factors(folder)
    suffix = ".lora_A.weight"
    names = [key.removesuffix(suffix) for key in state if key.endswith(suffix)]
    halves = {name: _split(state[f"{name}{suffix}"], state[f"{name}.lora_B.weight"])[1] for name in names}
    return {name.removeprefix("base_model.model."): half for name, half in halves.items()}


def read_factors(folder: str | Path) -> State:
    """Return the tensors of the adapter in a folder, under the names PEFT saves them by.

    Raises:
        FileNotFoundError: If the folder holds no adapter.
    """
    path = Path(folder) / ADAPTER_WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {folder} is not a checkpoint of this Trainer")
    state: State = load_file(path)
    return state


def _load_start(name: str, layer: Any, adapter: str, state: State) -> None:
    """Replace a layer's two joined factors in `state` by the present ones, and move its base to the file's start."""
    keys = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
    (state[keys[0]], state[keys[1]]), (A0, B0) = _split(state[keys[0]], state[keys[1]])
    A0, B0 = A0.to(layer.start_A.device), B0.to(layer.start_A.device)
    if torch.equal(A0, layer.start_A) and torch.equal(B0, layer.start_B):
        return
    back = precise(layer.start_B) @ precise(layer.start_A) - precise(B0) @ precise(A0)
    _shift_base(layer, layer.scaling[adapter] * back)
    layer.start_A, layer.start_B = A0, B0


def _split(A: Tensor, B: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Take [A; A0] and [B, -B0] apart."""
    rank = len(A) // 2
    return (A[:rank], B[:, :rank]), (A[rank:], -B[:, rank:])


def _joined(model: nn.Module, adapter: str, state: State) -> State:
    joined = dict(state)
    for name, layer in model.named_modules():
        start = start_factors(layer)
        if start is not None:
            A, B = (f"{name}.lora_{part}.{adapter}.weight" for part in "AB")
            joined[A] = torch.cat([state[A], start[0].to(state[A])])
            joined[B] = torch.cat([state[B], -start[1].to(state[B])], dim=1)
    return joined


def _doubled(config: LoraConfig) -> LoraConfig:
    """The configuration of the joined adapter: twice the rank at the same scaling, and a start that changes no base."""
    doubled = copy.deepcopy(config)
    growth = 2**0.5 if config.use_rslora else 2
    doubled.r *= 2
    doubled.lora_alpha *= growth
    doubled.rank_pattern = {key: 2 * rank for key, rank in config.rank_pattern.items()}
    doubled.alpha_pattern = {key: growth * alpha for key, alpha in config.alpha_pattern.items()}
    doubled.init_lora_weights = True
    doubled.lora_ga_config = None
    return doubled


def _shift_base(layer: Any, change: Tensor) -> None:
    """Add a change (m, n) to the base weight in place, rounding the sum once."""
    weight = layer.get_base_layer().weight
    weight.data.copy_(weight.data + transpose(change, layer.fan_in_fan_out))


def _layers(model: nn.Module, adapter: str) -> list[Any]:
    return [m for m in model.modules() if isinstance(m, LoraLayer) and adapter in m.lora_A]
