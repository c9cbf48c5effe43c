"""The first of the two calls that put a method under any training loop."""

from __future__ import annotations

from typing import Any

from peft import PeftConfig
from torch import nn

from bilora.fused import fuse_adapters
from bilora.methods import Method, create_method


def attach(
    model: nn.Module,
    peft_config: PeftConfig | None = None,
    *,
    method: str = "bilora",
    fused: bool = True,
    **options: Any,
) -> tuple[Any, Method]:
    """Attach a method's adapters to a model.

    Args:
        model: A plain model (then `peft_config` is needed), or a `PeftModel` with its primary adapter active.
        peft_config: PEFT configuration of the primary adapter.
        method: Name of the method, see `bilora.method_names()`.
        fused: Run the active adapters of a layer as one, see `bilora.fused`; equal up to rounding, and faster.
        **options: The method's options, for example `rho=0.05`.

    Returns:
        The model to train, and the method to build the optimizer with.

    Raises:
        MethodError: If the method or an option is unknown or out of range.
        ValueError: If adapter and model do not fit together.
    """
    created = create_method(method, **options)
    attached = created.attach(model, peft_config)
    if fused:
        fuse_adapters(attached)
    return attached, created
