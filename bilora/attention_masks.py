"""Lets transformers decide on attention masks without reading values from the device.

Whether a batch is padded or packed can be told from which inputs it has; reading it from their values would make a GPU
wait, cannot be recorded in a CUDA graph (`bilora.graphed`), and has no answer for tensors without memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import masking_utils
from transformers.utils import import_utils


@contextmanager
def masks_without_values(batch: Iterable[str]) -> Iterator[None]:
    """Let transformers decide on attention masks without looking at values, recorded or not.

    It leaves a causal mask out, so that the fastest kernels run, if nothing is padded or packed, and reads from the
    device whether something is, unless a graph is being recorded; then it makes a mask in any case. What a batch does
    not hold it cannot be: without `attention_mask` nothing is padded, without `position_ids` nothing is packed.

    Args:
        batch: Names of the model's inputs.
    """
    inputs = set(batch)
    makes_mask = "position_ids" in inputs or any(name.endswith("attention_mask") for name in inputs)
    answers: list[tuple[Any, str, Callable[..., Any]]] = [
        (import_utils, "is_cuda_stream_capturing", lambda: makes_mask)
    ]
    if "position_ids" not in inputs:
        answers.append((masking_utils, "find_packed_sequence_indices", lambda *_, **__: None))
    # Releases without one of these have no such question.
    answers = [(module, name, answer) for module, name, answer in answers if hasattr(module, name)]
    before = [getattr(module, name) for module, name, _ in answers]
    try:
        for module, name, answer in answers:
            setattr(module, name, answer)
        yield
    finally:
        for (module, name, _), own in zip(answers, before, strict=True):
            setattr(module, name, own)
