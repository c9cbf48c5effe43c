"""Gaussian noise on frozen weight matrices, drawn inside the forward pass and never written anywhere.

Flat-LoRA's published code (arXiv 2409.14396) adds noise to the base weights in place and later subtracts the same:
in bf16 that is not reversible, and the base drifts by about a percent over a training. Keeping a clean copy would
double the model. Here a linear layer computes x (W + eps)^T with eps drawn in its forward pass, one layer at a time,
and drawn again in the backward pass from the same key (run seed, optimizer step, layer); W is only read. Every pass
of a step sees the same noise: all micro-batches, a checkpointed segment's second forward, every process. The base is
frozen, so the backward pass needs dL/dx = dL/dy (W + eps) only, and no activation is kept for it.

Refuses layers other than plain linear ones: a quantised weight, a convolution or an embedding has no such product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from bilora.devices import together
from bilora.draws import normals, seed_of
from bilora.merged_rows import row_norms_squared
from bilora.shards import ShardingError, is_sharded


@dataclass(frozen=True)
class FrozenLinear:
    """The frozen linear layer under an adapter layer of PEFT."""

    name: str
    module: nn.Module

    @property
    def matrix(self) -> Tensor:
        """The weight as W (m, n) = (out, in); a view where the layer keeps its transpose, as GPT-2's do.

        Under FSDP2 it is whole inside forward and backward passes, and sharded along its rows outside.

        Raises:
            ShardingError: If it is a transpose that is sharded, along the columns of W.
        """
        weight = cast("Tensor", self.module.weight).detach()
        if isinstance(self.module, Conv1D) and is_sharded(weight):
            raise ShardingError(
                f"the weight of {self.name} is kept as its transpose, and noise needs its rows, which FSDP2 spreads "
                "over ranks; train this model under DDP, or with another method"
            )
        return weight.T if isinstance(self.module, Conv1D) else weight


def frozen_linears(model: nn.Module) -> list[FrozenLinear]:
    """List the layers under all adapter layers of a PEFT model, in module order, by the names of the latter.

    Raises:
        ValueError: If one of them is not a plain linear layer.
    """
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            base: nn.Module = module.get_base_layer()
            # Subclasses, quantised ones among them, may compute something else in their forward.
            if type(base) not in (nn.Linear, Conv1D):
                raise ValueError(
                    f"layer {name} is a {type(base).__name__}; noise on frozen weights is defined for torch.nn.Linear "
                    "and Conv1D: choose target_modules of the adapter among those"
                )
            layers.append(FrozenLinear(name, base))
    return layers


class WeightNoise:
    """Independent Gaussian noise on the weights of several layers, the same for all passes of a step.

    Args:
        layers: Where noise may be added.
    """

    def __init__(self, layers: Sequence[FrozenLinear]) -> None:
        self.layers = list(layers)
        self._squares: dict[int, Tensor] = {}

    @contextmanager
    def added(self, deviations: Sequence[Tensor], *key: int) -> Iterator[None]:
        """Let every layer compute with W + eps, eps_ij ~ N(0, d_i^2), inside the context.

        Args:
            deviations: d of each layer, one for each row (output), shape (m,).
            *key: What the noise is a function of, for example run seed and optimizer step; the layer's index is
                added. The sum W + eps is rounded to the dtype of W.
        """
        self._squares.clear()
        with ExitStack() as stack:
            for index, (layer, deviation) in enumerate(zip(self.layers, deviations, strict=True)):
                weight = partial(self._perturbed, index, deviation, key)
                stack.enter_context(_forward_replaced(layer.module, partial(_noisy_forward, layer.module, weight)))
            yield

    def norm(self) -> Tensor:
        """Return ||eps||_F over all layers that ran since noise was last added, a scalar tensor, fp32 or better."""
        squares = list(self._squares.values())
        return together(squares).sum().sqrt()

    @torch.no_grad()
    def _perturbed(self, index: int, deviation: Tensor, key: tuple[int, ...]) -> Tensor:
        """Draw a layer's noise and return W + eps."""
        W = self.layers[index].matrix
        if W.is_cuda and W.is_contiguous() and W.dtype != torch.float64 and _has_triton():
            from bilora.noise_kernel import with_noise  # not above: torch without CUDA comes without Triton

            perturbed, square = with_noise(W, deviation, seed_of(*key, index))
            self._squares.setdefault(index, square)
            return perturbed
        noise = normals(W.shape, *key, index, device=W.device, dtype=W.dtype)
        d = deviation.to(W.dtype).unsqueeze(1)
        if index not in self._squares:
            rows = row_norms_squared(noise)
            self._squares[index] = (rows * d.squeeze(1).to(rows.dtype).square()).sum()
        return torch.addcmul(W, noise, d, out=noise)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


class _LinearDrawnAgain(torch.autograd.Function):
    """y = x M^T + b for a frozen M that is made anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, matrix: Callable[[], Tensor]) -> Tensor:
        ctx.matrix, ctx.dtype = matrix, x.dtype
        return functional.linear(x, matrix(), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        to_input = to_bias = None
        if ctx.needs_input_grad[0]:
            to_input = (gradient @ ctx.matrix().to(gradient.dtype)).to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            to_bias = gradient.flatten(0, -2).sum(dim=0)
        return to_input, to_bias, None


def _noisy_forward(module: Any, matrix: Callable[[], Tensor], x: Tensor) -> Tensor:
    output: Tensor = _LinearDrawnAgain.apply(x, module.bias, matrix)  # type: ignore[no-untyped-call]
    return output


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let an instance run another forward; one that it had been given before comes back."""
    missing = object()
    earlier = module.__dict__.get("forward", missing)
    module.forward = forward
    try:
        yield
    finally:
        if earlier is missing:
            del module.forward
        else:
            module.forward = earlier
