"""Attaches plain LoRA at given factors whose product is taken out of the base weight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peft import LoraConfig, PeftModel
from torch import Tensor, nn

from bilora.adapters import attach_primary
from bilora.factors import PRIMARY, lora_factors
from bilora.residual_base import read_start, record_start, take_out
from bilora.variants.base import VariantError

# How PEFT's names of layers begin, over those in the plain model.
_PREFIX = "base_model.model."


def attach_at_start(
    model: nn.Module, config: LoraConfig, start: str | Path | Mapping[str, tuple[Tensor, Tensor]]
) -> PeftModel:
    """Attach LoRA at (A0, B0) and change every base weight to W - s B0 A0, so that the function stays.

    Args:
        model: A plain model.
        config: Plain LoRA.
        start: (A0, B0) by the layer's name in the plain model, or the folder of an adapter to take them from.

    Raises:
        VariantError: If a layer has no start, or one of another shape.
        FileNotFoundError: If the folder holds no adapter.
    """
    found = start if isinstance(start, Mapping) else read_start(start)
    attached = attach_primary(model, config)
    for factors in lora_factors(attached):
        pair = found.get(factors.name.removeprefix(_PREFIX))
        expected = factors.A.shape, factors.B.shape
        shapes = None if pair is None else (pair[0].shape, pair[1].shape)
        if pair is None or shapes != expected:
            raise VariantError(
                f"the start of layer {factors.name.removeprefix(_PREFIX)} has shapes {_listed(shapes)}; expected "
                f"{_listed(expected)}. Take the start of a run with the same rank and target modules"
            )
        take_out(attached.get_submodule(factors.name), PRIMARY, *pair)
    record_start(attached, PRIMARY)
    return attached


def _listed(shapes: tuple[tuple[int, ...], ...] | None) -> str:
    return "none" if shapes is None else " and ".join(str(tuple(shape)) for shape in shapes)
