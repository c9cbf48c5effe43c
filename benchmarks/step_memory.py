"""How much memory a step takes at least, and how much is free: what cannot fit is refused before any weight is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.step_timing import Batch
from bilora.attention_masks import masks_without_values


def needed_bytes(model: nn.Module, batch: Batch, *, rank: int, adapted: Sequence[str]) -> int:
    """Return how much memory a step of LoRA takes at least.

    Weights; fp32 factors with gradient and two moments; and the inputs and outputs of the linear layers other than the
    output layer, which is what remains of activations when layers are compiled. They are counted by a forward pass
    without memory.

    Args:
        model: On the meta device.
        batch: As it would be on the real one.
        rank: Of the adapter.
        adapted: Ends of the names of adapted layers.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    linears = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    factors = sum(
        rank * (m.in_features + m.out_features) for name, m in linears.items() if name.endswith(tuple(adapted))
    )
    kept: dict[int, Tensor] = {}

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # By identity, so that an input which several layers read counts once; held, so that none takes its number.
        kept.update({id(tensor): tensor for tensor in (*inputs, output)})

    hooks = [m.register_forward_hook(keep) for name, m in linears.items() if not name.endswith("lm_head")]
    dtype = next(model.parameters()).dtype
    with torch.no_grad(), masks_without_values(batch):
        model(**on_device(batch, torch.device("meta"), dtype))
    for hook in hooks:
        hook.remove()
    return weights + 16 * factors + sum(tensor.numel() * tensor.element_size() for tensor in kept.values())


def available_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU, or what Linux counts as available; a large number where neither is known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 2**62


def on_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return a batch on a device, its numbers in the model's type."""
    return {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in batch.items()}
