"""Attention that can be differentiated twice, whatever implementation a model asks for.

Fused kernels have no second derivative; PyTorch's plain one has. For a bfloat16 model it computes in float32, and that
is needed: with attention in bfloat16 a Hessian product of two layers of Llama 3.1 8B was wrong by 3.4 %, with factors
rounded to TF32 by 2.7 %, against 0.6 % in float32, and the largest eigenvalue of all 32 layers came out ten percent
too large. So TF32, where a program has switched it on, is off in here for narrow models.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable_attention(model: nn.Module) -> Iterator[None]:
    """Use the plain attention kernel inside the context."""
    matmul = torch.backends.cuda.matmul
    narrow = any(p.dtype in (torch.bfloat16, torch.float16) for p in model.parameters())
    allowed = matmul.allow_tf32
    try:
        if narrow:
            matmul.allow_tf32 = False
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        if narrow:
            matmul.allow_tf32 = allowed
