"""The matrix of a linear layer of unknown make, read off its response to the unit vectors.

DoRA, HiRA and DeLoRA layers, and 4-bit weights, are matrices that are stored as something else; what they do to an
input is the one definition that all of them share.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from analysis.modes import evaluation_mode


def effective_weight(module: nn.Module, inputs: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return W (m, n) of a layer x -> x W^T + b.

    Args:
        module: The layer; a hook that adds an offset is passed by.
        inputs: n.
        dtype: Type of the unit vectors and of W.
        device: Where the layer lies.
    """
    eye = torch.eye(inputs, dtype=dtype, device=device)
    with torch.no_grad(), evaluation_mode(module):
        response = module.forward(torch.cat([torch.zeros_like(eye[:1]), eye]))
        weight: Tensor = (response[1:] - response[:1]).mT.to(dtype)
        return weight
