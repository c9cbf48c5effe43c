"""Scaled-dot-product attention that can be differentiated twice.

Fused kernels have no second derivative; PyTorch's plain one has. For a bfloat16 model it computes in float32, and
stays there: with its arithmetic in bfloat16 a Hessian product of two layers of Llama 3.1 8B was wrong by 3.4 % instead
of 2.7 % (H200, `benchmarks/results/curvature.json`). TF32 changed nothing of that and took a tenth off a product of all
layers, but it is a switch for all float32 products of a program, and the program's own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel


def differentiable_attention() -> AbstractContextManager[None]:
    """Return a context in which the plain attention kernel is used."""
    return sdpa_kernel(SDPBackend.MATH)
