"""A run that does not fit goes on with half the micro-batch and twice the accumulation: the same update, less memory.

The loss of a step is the mean over the scored tokens of its whole batch however it is cut into micro-batches, so the
update is equal up to rounding; noise that is drawn in the shape of a micro-batch (method `rop`) is other noise. What
was asked for stays the run's key, what was done is in its record and in the report.
"""

from __future__ import annotations

import torch

# Of PyTorch's allocator on the CPU and of cuBLAS, which raise plain RuntimeErrors.
_WORDS = ("defaultcpuallocator", "cublas_status_alloc_failed", "cuda out of memory")


class EvaluationOutOfMemory(RuntimeError):
    """A batch of an evaluation does not fit, which no smaller micro-batch changes."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, EvaluationOutOfMemory):
        return False
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def halved(micro_batch_size: int, *, batch_size: int) -> int | None:
    """Return the largest divisor of the batch that is at most half the micro-batch; None for a micro-batch of one."""
    return next((n for n in range(micro_batch_size // 2, 0, -1) if batch_size % n == 0), None)
