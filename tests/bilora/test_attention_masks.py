from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bilora.attention_masks import masks_without_values
from tests.tiny import as_batch, examples, tiny_llama, tiny_t5


class ReadValues(TorchDispatchMode):
    """Notes operations that hand a value of the device to Python, which a recorded pass cannot do."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select")):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("build", [tiny_llama, tiny_t5])
@pytest.mark.parametrize("padded", [False, True])
def test_masks_are_decided_without_reading_values(build: Callable[[], nn.Module], padded: bool) -> None:
    model: Any = build().train()
    batch = as_batch(examples())
    if padded:
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    expected = model(**batch).loss
    with masks_without_values(batch), ReadValues() as reads:
        loss = model(**batch, use_cache=False).loss
        loss.backward()
    assert reads.found == []
    torch.testing.assert_close(loss, expected)
    with ReadValues() as reads:
        model(**batch, use_cache=False)
    assert padded <= bool(reads.found)  # outside the context transformers looks at a mask again
