"""Running a model's layers recomputed or compiled inside a curvature product.

Under activation checkpointing a layer keeps its inputs alone and is run again in the backward pass. PyTorch's own
checkpoint cannot do that for dual numbers: whatever autograd saves keeps the tangent it had, so the tangents of all
activations stay. Here the layer is run without recording anything, and in the backward pass once more on the values
alone, recorded, and differentiated twice. Memory is two boundaries per layer and the activations of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.autograd import forward_ad

from analysis.modes import checkpointed_layers, evaluation_mode, replaced_forwards, widened
from analysis.operators.compiled_call import LayerWeights
from analysis.operators.compiled_layers import KEPT_SHARE, CompiledLayers
from analysis.operators.double_backward import dual_gradients, joined, unrecorded
from analysis.operators.duals import DualTensors, keeping_saved
from analysis.operators.pairs import LayerTree, floating_leaves

Forward = Callable[..., Any]
Differentiate = Callable[[Sequence[Tensor], Sequence[Tensor | None]], Sequence[Tensor | None]]
"""`differentiate(inputs, gradients of the outputs)` -> gradients of the inputs, dual if those of the outputs are."""


class LayerRunner:
    """How the layers of one product are run; a context for `Objective.batch_loss`.

    Args:
        duals: The tensors of the space.
        compiled: Layers that are run compiled; None for no layer.

    Attributes:
        compiled_layers: The layers that are run compiled.
    """

    def __init__(self, duals: DualTensors, *, compiled: CompiledLayers | None = None) -> None:
        self.duals = duals
        self.compiled = compiled
        self.compiled_layers = () if compiled is None else tuple(compiled.layers)
        self._weights: dict[nn.Module, LayerWeights] = {}

    def wide_outside(self) -> AbstractContextManager[None]:
        """Return a context for a whole product in which what is not compiled computes in the same type."""
        inside = {module for layer in self.compiled_layers for module in layer.modules()}
        outside = [module for module in self.duals.space.model.modules() if module not in inside]
        return widened(outside, self.duals.compute_dtype)

    @contextmanager
    def level(self) -> Iterator[None]:
        """Open a level of forward differentiation in which all modules hold duals but those in compiled layers."""
        inside = {id(module) for layer in self.compiled_layers for module in layer.modules()}
        holders = [holder for holder in self.duals.holders if id(holder[0]) not in inside]
        saving = functorch_config.patch(activation_memory_budget=KEPT_SHARE) if inside else nullcontext()
        with saving, forward_ad.dual_level(), self.duals.installed(holders):
            yield

    def __call__(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which the layers that are checkpointed or to be compiled are run here."""
        recomputed = set(checkpointed_layers(model))
        compiled = self.compiled_layers

        def wrap(layer: nn.Module, forward: Forward) -> Forward:
            if self.compiled is not None and layer in compiled:
                return partial(self._run_compiled, self.compiled, layer in recomputed, layer, forward)
            return partial(self._run_recomputed, layer, forward)

        return replaced_forwards([*compiled, *recomputed.difference(compiled)], wrap)

    def _run_recomputed(self, layer: nn.Module, forward: Forward, *args: Any, **options: Any) -> Any:
        inputs = LayerTree.of((args, options))
        with torch.no_grad():
            outputs = LayerTree.of(forward(*args, **options))
        slots = self.duals.within(layer)

        def again(values: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            leaves = [value.detach().requires_grad_() for value in values]
            with keeping_saved(), evaluation_mode(layer):
                args_again, options_again = inputs.filled(leaves)
                return leaves, floating_leaves(forward(*args_again, **options_again))

        def gradients_of(values: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
            # A backward pass that builds no graph runs with recording off.
            with torch.enable_grad(), self.duals.installed(slots, moving=False):
                leaves, found = again(values)
            wanted = [(o, g) for o, g in zip(found, gradients, strict=True) if g is not None and o.requires_grad]
            # The anchor is asked for so that weights hand their share to the product; its own gradient is nothing.
            shares: Sequence[Tensor | None] = torch.autograd.grad(
                [output for output, _ in wanted],
                [*leaves, self.duals.anchor],
                [gradient for _, gradient in wanted],
                allow_unused=True,
            )
            return list(shares[:-1])

        def dual_gradients_of(values: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
            split = [unrecorded(gradient) for gradient in gradients]
            with self.duals.leaves(slots) as weights:
                leaves, found = again(values)
            anchor = self.duals.anchor
            first, second = dual_gradients(
                found,
                [*leaves, *weights.values(), anchor],
                [*inputs.tangents, *map(self.duals.tangent, weights), torch.ones_like(anchor)],
                [gradient for gradient, _ in split],
                [change for _, change in split],
            )
            count = len(leaves)
            for block, share in zip(weights, second[count:-1], strict=True):
                if share is not None:
                    self.duals.product[block].add_(share)
            return [joined(value, change) for value, change in zip(first[:count], second[:count], strict=True)]

        differentiate = dual_gradients_of if self.duals.second_order else gradients_of
        values = _attached(differentiate, outputs.values, inputs.values, self.duals.anchor)
        return outputs.filled(values, outputs.tangents)

    def _run_compiled(
        self, compiled: CompiledLayers, again: bool, layer: nn.Module, forward: Forward, *args: Any, **options: Any
    ) -> Any:
        if layer not in self._weights:
            self._weights[layer] = LayerWeights.of(layer, forward, self.duals)
        call = compiled.call(layer, LayerTree.of((args, options)), forward, self._weights[layer], self.duals)
        values, tangents = call.run(recorded=not again)
        return call.outputs.filled(_attached(call.differentiate, values, call.inputs, self.duals.anchor), tangents)


class _Apart(torch.autograd.Function):
    """Passes the outputs of a function on; its backward asks that function for the gradients of its inputs."""

    @staticmethod
    def forward(ctx: Any, differentiate: Differentiate, count: int, _: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.differentiate, ctx.count = differentiate, count
        ctx.save_for_backward(*tensors[count:])
        ctx.set_materialize_grads(False)
        return tuple(tensor.view_as(tensor) for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        found = ctx.differentiate(ctx.saved_tensors, gradients)
        return None, None, None, *(None for _ in range(ctx.count)), *found


def _attached(
    differentiate: Differentiate, outputs: Sequence[Tensor], inputs: Sequence[Tensor], anchor: Tensor
) -> Sequence[Tensor]:
    """Return outputs that were computed without recording, attached to their inputs and to the anchor."""
    plain = [output.detach() for output in outputs]
    attached: Sequence[Tensor] = _Apart.apply(differentiate, len(plain), anchor, *plain, *inputs)  # type: ignore[no-untyped-call]
    return attached
