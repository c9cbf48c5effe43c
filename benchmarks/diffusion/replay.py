"""A network's forward pass replayed as one CUDA graph, for sampling: the same shapes, dozens of times a picture.

SDXL's UNet with adapters launches thousands of small kernels, one after the other from Python, for which a GPU waits; a
graph launches all of them at once. Elsewhere than on a GPU, and for shapes other than the first ones, the network is
called as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Passes before the recording, in which libraries choose their kernels and allocate.
_WARM_UP = 2


class Replayed:
    """A function of tensors that is recorded at its first call; its weights must stay where and as they are.

    Args:
        call: `call(*inputs)` -> a tensor, without gradients, without a look at a value on the host.
    """

    def __init__(self, call: Callable[..., Tensor]) -> None:
        self._call = call
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output: Tensor

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return what the function returns."""
        if inputs[0].device.type != "cuda":
            return self._call(*inputs)
        if self._graph is None:
            self._record(inputs)
        if [entry.shape for entry in inputs] != [kept.shape for kept in self._inputs]:
            return self._call(*inputs)
        assert self._graph is not None
        for kept, entry in zip(self._inputs, inputs, strict=True):
            kept.copy_(entry)
        self._graph.replay()
        return self._output.clone()

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(entry.clone() for entry in inputs)
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._call(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = self._call(*self._inputs)
