"""Attention that can be differentiated twice, whatever implementation a model asks for.

Fused kernels have no second derivative; PyTorch's plain one has. For a bfloat16 model it computes in float32, and
stays there: a Hessian product of two layers of Llama 3.1 8B was wrong by 2.7 % then, and by 3.4 % with attention in
bfloat16. Its matrix products may round their factors to TF32, which changed nothing of that and took a tenth off a
product of all layers (H200, `benchmarks/results/curvature.json`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable_attention(model: nn.Module) -> Iterator[None]:
    """Use the plain attention kernel inside the context, with TF32 on accelerators for a model of narrow weights."""
    matmul = torch.backends.cuda.matmul
    narrow = all(p.dtype in (torch.bfloat16, torch.float16) for p in model.parameters() if p.is_floating_point())
    allowed = matmul.allow_tf32
    try:
        if narrow:
            matmul.allow_tf32 = True
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        if narrow:
            matmul.allow_tf32 = allowed
