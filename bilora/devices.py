"""Tensors of a model whose layers lie on several devices, as `device_map="auto"` spreads them.

A layer's tensors lie together, and what methods compute inside a layer needs no care. Norms over all layers do: their
parts are brought to one device, and the factors that come of them back to every tensor's own. On a single device all
functions here are PyTorch's calls on lists of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def together(scalars: Sequence[Tensor]) -> Tensor:
    """Return scalars as one vector (len(scalars),) on the device of the first."""
    device = scalars[0].device
    return torch.stack([s if s.device == device else s.to(device) for s in scalars])


def beside(scalars: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return each scalar on the device of the tensor at its place."""
    return [s if s.device == t.device else s.to(t.device) for s, t in zip(scalars, tensors, strict=True)]


def scaled(tensors: Sequence[Tensor], factor: Tensor | float) -> list[Tensor]:
    """Return factor * t for every tensor; the factor is a number or a scalar tensor on any device."""
    return list(torch._foreach_mul(list(tensors), _near(factor, tensors)))


def scale_(tensors: Sequence[Tensor], factor: Tensor | float) -> None:
    """Multiply every tensor by a factor in place, see `scaled`."""
    torch._foreach_mul_(list(tensors), _near(factor, tensors))


def _near(factor: Tensor | float, tensors: Sequence[Tensor]) -> Tensor | float | list[Tensor]:
    """The factor itself where all tensors lie on its device, else a copy of it for each tensor."""
    if not isinstance(factor, Tensor) or all(t.device == factor.device for t in tensors):
        return factor
    copies = {device: factor.to(device) for device in {t.device for t in tensors}}
    return [copies[t.device] for t in tensors]
