"""Makes a trained model wide enough to be measured: a small move of a weight is rounded away in 16 bits.

What was trained stays what it was, since every bfloat16 and float16 number is a float32 number. A 4-bit base keeps its
bits and computes in float32, where the measured spaces add their moves to its outputs.
"""

from __future__ import annotations

import torch
from torch import nn


def widen(model: nn.Module) -> None:
    """Turn 16-bit weights, buffers and arithmetic of a model into float32, in place; float32 and float64 stay."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor.data = tensor.data.float()
    for module in model.modules():
        # An attribute of bitsandbytes' 4-bit layers.
        if getattr(module, "compute_dtype", None) in (torch.bfloat16, torch.float16):
            setattr(module, "compute_dtype", torch.float32)  # noqa: B010
