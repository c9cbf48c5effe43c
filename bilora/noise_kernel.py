"""W + eps in one pass over W on a GPU, with eps drawn inside the kernel.

torch draws noise into memory, then reads it back beside W: on an H200 the second kernel costs more than the drawing.
This Triton kernel draws in registers (Philox counters, Box-Muller pairs), adds, and writes the sum once; it also
returns ||eps||_F^2, taken before W + eps is rounded. Triton comes with torch's CUDA builds; `bilora.noise` does the
same with torch's own operations where it is missing.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Columns of one Philox call, which makes four numbers; a program treats four times as many columns of one row.
_BLOCK = 512


# Triton resolves annotations as values that a kernel may use, which rules out all but its own.
@triton.jit(do_not_specialize=["seed"])  # type: ignore[untyped-decorator]
def _add_noise(  # type: ignore[no-untyped-def]
    weight, deviation, out, squares, seed, columns, chunks, BLOCK: tl.constexpr
):
    program = tl.program_id(0)
    row = program // chunks
    lanes = tl.arange(0, BLOCK)
    first = (program % chunks) * 4 * BLOCK + lanes
    start = row.to(tl.int64) * columns
    d = tl.load(deviation + row)
    # Seven rounds of Philox are the fewest that pass BigCrush (Salmon et al., SC 2011); ten are usual.
    normals = tl.randn4x(seed, program * BLOCK + lanes, n_rounds=7)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for part in tl.static_range(4):
        column = first + part * BLOCK
        inside = column < columns
        noise = tl.where(inside, normals[part] * d, 0.0)
        value = tl.load(weight + start + column, mask=inside, other=0.0).to(tl.float32) + noise
        tl.store(out + start + column, value, mask=inside)
        total += noise * noise
    tl.store(squares + program, tl.sum(total))


def with_noise(weight: Tensor, deviation: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return W + eps, eps_ij ~ N(0, d_i^2), and ||eps||_F^2.

    Args:
        weight: W (m, n) on a CUDA device, contiguous, fp32, bf16 or fp16.
        deviation: d (m,), fp32, on the same device.
        seed: The same seed gives the same noise for the same shape.

    Returns:
        A new tensor like W, and a scalar fp32 tensor.
    """
    rows, columns = weight.shape
    chunks = triton.cdiv(columns, 4 * _BLOCK)
    out = torch.empty_like(weight)
    squares = torch.empty(rows * chunks, device=weight.device)
    with torch.cuda.device(weight.device):
        _add_noise[(rows * chunks,)](weight, deviation, out, squares, seed % 2**63, columns, chunks, BLOCK=_BLOCK)
    return out, squares.sum()
