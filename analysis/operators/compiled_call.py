"""One layer run by its kind's compiled function: its weights in a product, its arguments, its gradients.

Outside the compiled function a layer is one step of a dual computation: it takes values and tangents, and later the
dual gradients of its outputs, hands its weights' share to the product and passes the dual gradients of its inputs on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import SettingsError
from analysis.operators.double_backward import joined, unrecorded
from analysis.operators.duals import DualTensors, keeping_saved, quiet_tracing
from analysis.operators.layer_kind import layer_kind, refuse_hooks
from analysis.operators.pairs import LayerTree

Named = Mapping[str, Tensor]
PairFunction = Callable[
    [Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], Named, Named], tuple[list[Tensor], list[Tensor]]
]
"""`function(values, tangents, fixed, weights, directions)` -> values and tangents of a layer's outputs."""


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weights of one layer in one product.

    Attributes:
        tensors: Parameters and buffers by name; those of the space are leaves that require a gradient.
        directions: v of those, in the type of vectors.
        blocks: The block of each.
        kind: What the layer shares with those that compute the same function.
    """

    tensors: dict[str, Tensor]
    directions: dict[str, Tensor]
    blocks: dict[str, int]
    kind: Hashable

    @classmethod
    def of(cls, layer: nn.Module, forward: Callable[..., Any], duals: DualTensors) -> LayerWeights:
        """Collect the weights of a layer.

        Args:
            layer: The layer.
            forward: What it runs, apart from what a curvature product has put in its place.
            duals: The tensors of the space.

        Raises:
            SettingsError: Something is attached to the layer that its kind does not have.
        """
        refuse_hooks(layer, forward)
        tensors: dict[str, Tensor] = dict(layer.named_buffers())
        held_as = {(id(module), attribute): block for module, attribute, block in duals.within(layer)}
        blocks = {}
        for path, module in layer.named_modules():
            for attribute, held in module._parameters.items():
                if held is None:
                    continue
                name = f"{path}.{attribute}" if path else attribute
                block = held_as.get((id(module), attribute))
                if block is not None:
                    blocks[name] = block
                own = held if block is None else duals.space.tensors[block]
                tensors[name] = own.detach().requires_grad_(block is not None)
        directions = {name: duals.direction[block].detach() for name, block in blocks.items()}
        return cls(tensors, directions, blocks, layer_kind(layer))


class CompiledCall:
    """One layer's compiled function with its arguments.

    Args:
        function: Of the layer's kind.
        outputs: Outputs of some layer of this kind, for their nesting.
        weights: Of the layer.
        inputs: Its arguments.
        moving: Which of their floating tensors move.
        duals: The tensors of the space.

    Attributes:
        inputs: The arguments that move, without their tangents.
        outputs: As given.
    """

    def __init__(
        self,
        function: PairFunction,
        outputs: LayerTree,
        weights: LayerWeights,
        inputs: LayerTree,
        moving: Sequence[int],
        duals: DualTensors,
    ) -> None:
        self.inputs = [inputs.values[i] for i in moving]
        self.outputs = outputs
        self._function = function
        self._weights = weights
        self._duals = duals
        # Whether a tensor requires a gradient is part of what is compiled: all that move do.
        self._values = [value.detach().requires_grad_() for value in self.inputs]
        tangents = [inputs.tangents[i] for i in moving]
        self._tangents = [
            (torch.zeros_like(v) if t is None else t.detach()).requires_grad_(duals.second_order)
            for v, t in zip(self._values, tangents, strict=True)
        ]
        self._fixed = [value.detach() for i, value in enumerate(inputs.values) if i not in moving]
        self._fixed += [leaf for leaf in inputs.leaves if isinstance(leaf, Tensor)]
        self._recorded: tuple[list[Tensor], list[Tensor]] | None = None

    def run(self, *, recorded: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Return values and tangents of the outputs, keeping what `differentiate` needs if it is recorded.

        Raises:
            SettingsError: The layer cannot be compiled.
        """
        weights = self._weights
        try:
            # Recorded or not, so that one function is compiled; saved tensors go when `found` does.
            with torch.enable_grad(), quiet_tracing():
                found = self._function(self._values, self._tangents, self._fixed, weights.tensors, weights.directions)
        except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
            raise SettingsError(
                f"the layers cannot be compiled for curvature products: {str(error).splitlines()[0]}; "
                "leave compile_layers off"
            ) from error
        self._recorded = found if recorded else None
        values, tangents = found
        return [value.detach() for value in values], [tangent.detach() for tangent in tangents]

    def differentiate(self, _: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Add the weights' share to the product and return the gradients of the arguments that move.

        Args:
            _: The arguments; they are known.
            gradients: Of the outputs; dual if the product is of second order, and then so are those that are returned.
        """
        split = [unrecorded(gradient) for gradient in gradients]
        first, second, shares = self.gradients([value for value, _ in split], [change for _, change in split])
        for block, share in zip(self._weights.blocks.values(), shares, strict=True):
            if share is not None:
                self._duals.product[block].add_(share)
        if not self._duals.second_order:
            return first
        return [joined(gradient, change) for gradient, change in zip(first, second, strict=True)]

    def gradients(
        self, gradients: Sequence[Tensor | None], changes: Sequence[Tensor | None]
    ) -> tuple[list[Tensor | None], list[Tensor | None], list[Tensor | None]]:
        """Return the gradients of the moving arguments, their derivatives along v, and the weights' share.

        Args:
            gradients: Of the outputs.
            changes: Their derivatives along v; not used for a product of first order, whose changes are None.
        """
        if self._recorded is None:
            with keeping_saved():
                self.run(recorded=True)
        assert self._recorded is not None
        (values, tangents), self._recorded = self._recorded, None
        second_order, count = self._duals.second_order, len(self._values)
        pairs = list(zip(values, changes if second_order else gradients, strict=True))
        if second_order:
            pairs += zip(tangents, gradients, strict=True)
        pairs = [(output, cotangent) for output, cotangent in pairs if cotangent is not None and output.requires_grad]
        weights = [self._weights.tensors[name] for name in self._weights.blocks]
        found = torch.autograd.grad(
            [output for output, _ in pairs],
            [*self._values, *(self._tangents if second_order else ()), *weights],
            [cotangent for _, cotangent in pairs],
            allow_unused=True,
        )
        if second_order:
            return list(found[count : 2 * count]), list(found[:count]), list(found[2 * count :])
        return list(found[:count]), [None] * count, list(found[count:])
