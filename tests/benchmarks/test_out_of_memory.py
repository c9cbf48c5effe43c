from __future__ import annotations

import pytest
import torch

from benchmarks.out_of_memory import EvaluationOutOfMemory, halved, is_out_of_memory


@pytest.mark.parametrize(
    ("micro", "batch", "expected"), [(8, 8, 4), (4, 8, 2), (1, 8, None), (6, 6, 3), (3, 6, 1), (5, 5, 1), (12, 36, 6)]
)
def test_the_next_micro_batch_is_at_most_half_and_divides_the_batch(
    micro: int, batch: int, expected: int | None
) -> None:
    assert halved(micro, batch_size=batch) == expected


def test_a_real_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (EvaluationOutOfMemory("CUDA out of memory"), False),
        (RuntimeError("shape mismatch"), False),
        (ValueError("cuda out of memory"), False),
    ],
)
def test_only_memory_counts(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
