"""Attention that can be differentiated twice, whatever implementation a model asks for.

Fused kernels have no second derivative; PyTorch's plain one has. In bfloat16 and float16 that one computes in float32
unless told otherwise, a tenth of a product of an 8B model at rows of 256 tokens. Here its matrix products stay in the
model's type, as in transformers' own plain attention, and the softmax still sums in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable_attention() -> Iterator[None]:
    """Use the plain attention kernel inside the context."""
    allowed: bool = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(allowed)
