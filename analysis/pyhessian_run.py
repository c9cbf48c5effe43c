"""Driving PyHessian 0.1 (Yao, Gholami, Keutzer and Mahoney, 2020) so that it measures our loss.

It gets one module that returns the token-weighted mean over all batches, since its own data loader weighs batches by
their size; only parameters that the loss reaches, since it asserts that all are reached; plain attention, since fused
kernels have no second derivative. Its graph of the whole gradient is held while it runs and taken apart afterwards,
which it does not do itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.errors import AnalysisError, SpaceError
from analysis.objective import Objective
from analysis.spaces import ParameterSpace


class _MeanLoss(nn.Module):
    """The mean loss as PyHessian wants a model: it is called with inputs, and its parameters are the coordinates."""

    def __init__(self, objective: Objective, leaves: Sequence[Tensor]) -> None:
        super().__init__()
        self._objective = objective
        self._leaves = list(leaves)

    def forward(self, _: Tensor) -> Tensor:
        sums, counts = zip(
            *(self._objective.batch_loss(index) for index in range(len(self._objective.batches))), strict=True
        )
        mean: Tensor = torch.stack(sums).sum() / self._objective.checked_tokens(sum(counts))
        return mean

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        return iter(self._leaves)


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, _: Tensor) -> None:
        self.count += 1


class PyHessianRun:
    """PyHessian's object with a count of the products it takes.

    Attributes:
        hessian: The `pyhessian.hessian` object.
    """

    def __init__(self, hessian: Any) -> None:
        self.hessian = hessian
        self._counter = counter = _Counter()
        # The hook must not know this object: that would close a ring through the graph, which is never collected.
        hessian.gradsH[0].register_hook(counter.add)

    @property
    def products(self) -> int:
        """Products taken so far."""
        return self._counter.count

    def product(self, vector: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return H v as PyHessian takes it."""
        from pyhessian.utils import hessian_vector_product

        product: Sequence[Tensor] = hessian_vector_product(self.hessian.gradsH, self.hessian.params, list(vector))
        return product


@contextmanager
def running_pyhessian(objective: Objective, space: ParameterSpace, seed: int) -> Iterator[PyHessianRun]:
    """Build PyHessian's object, and leave gradients, generators and memory as they were found.

    Args:
        objective: The token-weighted mean loss.
        space: A space whose coordinates are all free.
        seed: Seed of PyHessian's random vectors.

    Raises:
        AnalysisError: PyHessian is not installed, or cannot work in this space.
    """
    try:
        from pyhessian import hessian
    except ImportError as error:
        raise AnalysisError("PyHessian is not installed; run `pip install pyhessian==0.1`") from error
    if space.dimension != sum(tensor.numel() for tensor in space.tensors):
        raise SpaceError(f"PyHessian cannot project onto the {space.name} space; take full, all or lora, or our own")
    device = space.tensors[0].device
    with ExitStack() as stack:
        stack.enter_context(space)
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
        saved = [(tensor, tensor.grad) for tensor in space.tensors]
        try:
            leaves = _reached(objective, space)
            torch.manual_seed(seed)
            one = torch.zeros(1)
            model = _MeanLoss(objective, leaves)
            peer = hessian(model, lambda loss, _: loss, data=(one, one), cuda=device.type == "cuda")
            yield PyHessianRun(peer)
        finally:
            # The gradients hold the graph that made them, and the parameters hold the gradients.
            for tensor, gradient in saved:
                tensor.grad = gradient


def _reached(objective: Objective, space: ParameterSpace) -> list[Tensor]:
    """Return the tensors that the loss depends on, in a way that can be curved, without their old gradients."""
    total = _MeanLoss(objective, space.tensors)(torch.zeros(1))
    gradients = torch.autograd.grad(total, list(space.tensors), create_graph=True, allow_unused=True)
    curved = [t for t, g in zip(space.tensors, gradients, strict=True) if g is not None and g.requires_grad]
    if not curved:
        raise SpaceError(f"the loss has no curvature in the {space.name} space")
    for tensor in space.tensors:
        tensor.grad = None
    return curved
