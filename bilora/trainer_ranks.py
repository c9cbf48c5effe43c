"""What of a Trainer's ways to train on several devices a method cannot follow, said before any work starts.

Methods work between a backward pass and the optimizer's step, on gradients that stand in `.grad` and on an optimizer of
their own. DDP and FSDP2 leave both where PyTorch puts them; DeepSpeed and the first FSDP flatten weights and gradients
into buffers that belong to their engines.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bilora.methods import Method, MethodError


def refuse_launch(args: Any, *, compile_layers: Any) -> None:
    """Refuse training arguments under which methods would not do what they say.

    Raises:
        ValueError: With the reason, and what to do instead.
    """
    if args.deepspeed:
        raise ValueError(
            "deepspeed: ZeRO keeps gradients and optimizer in an engine of its own, where a method can neither read "
            "the one nor step with the other; train with DDP, or with FSDP2 (fsdp=True, fsdp_config={'version': 2})"
        )
    if not args.fsdp:
        return
    plugin, config = getattr(args, "fsdp_plugin_args", None) or {}, args.fsdp_config or {}
    version = int(plugin.get("fsdp_version", config.get("version", config.get("fsdp_version", 1))))
    if version != 2:
        raise ValueError(
            f"fsdp: version {version} flattens the factors of several layers into one buffer, and a method needs each "
            "of them; set fsdp_config={'version': 2}"
        )
    if compile_layers is True:
        raise ValueError(
            "compile_layers: compiled layers would gather sharded weights inside their graphs; leave it off"
        )


def refuse_wrapped(method: Method, model: nn.Module) -> None:
    """Refuse a wrapper that would write a second pass's gradients over the first one's.

    Raises:
        MethodError: With what to do instead.
    """
    if method.replays and isinstance(model, DistributedDataParallel) and model.gradient_as_bucket_view:
        raise MethodError(
            f"method {method.name!r} compares the gradients of two passes, and gradient_as_bucket_view lets the second "
            "overwrite the first; leave it off"
        )
