"""The repeated layers of a model as compiled functions of values and tangents, one function for each kind of layer.

In eager mode a product spends as long on norms, activations and launches as on matrix products. Compiled, those are
fused, and what the backward pass can compute again is not kept. A kind of layer is compiled once and run with every
layer's own weights. The derivative along v is written as the derivative of the transposed derivative,

    J v = d/du (J^T u) . v,

which is linear in u: that compiles while a level of forward differentiation is open, which `torch.func.jvp` does not,
and leaves the same matrix products once what is unused is dropped. Autograd then differentiates (y, J v): with the dual
gradient (d, d') of y, the gradient of <d', y> + <d, J v> is d' J + d J' with respect to inputs and weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.utils._pytree import tree_unflatten

from analysis.errors import SettingsError
from analysis.modes import repeated_layers, widened
from analysis.operators.compiled_check import check_against_double_backward
from analysis.operators.double_backward import joined, unrecorded
from analysis.operators.duals import DualTensors, keeping_saved, quiet_tracing
from analysis.operators.layer_kind import frozen, layer_kind, refuse_hooks, without_weights
from analysis.operators.pairs import LayerTree, floating_leaves

BACKEND = "inductor"
# Of what PyTorch would keep for the backward pass this share is kept and the rest computed again: 57.7 instead of
# 68.8 GB for a product of an 8B model on 4 x 256 tokens, in the same time (H200).
KEPT_SHARE = 0.6
# Triton 3.6, which comes with PyTorch 2.11, fails on the end of a norm's derivative fused with all that follows:
# "PassManager::run failed". In kernels of at most four parts it does not arise, and they are as fast.
_OPTIONS: dict[str, dict[str, Any]] = {"inductor": {"max_fusion_size": 4}}

_NUMBERS = itertools.count()

Named = Mapping[str, Tensor]
PairFunction = Callable[
    [Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], Named, Named], tuple[list[Tensor], list[Tensor]]
]
"""`function(values, tangents, fixed, weights, directions)` -> values and tangents of a layer's outputs."""


class CompiledLayers:
    """The repeated layers of a model and their compiled functions.

    Args:
        model: Its layers are those that activation checkpointing could recompute.
        second_order: Whether the tangents of outputs are differentiated too.
        compute_dtype: Type that narrower weights are cast to inside the functions; None computes in their own.

    Attributes:
        layers: The layers that are run compiled.

    Raises:
        SettingsError: The model has no such layers.
    """

    def __init__(self, model: nn.Module, *, second_order: bool, compute_dtype: torch.dtype | None = None) -> None:
        self.second_order = second_order
        self.compute_dtype = compute_dtype
        self.layers = dict.fromkeys(repeated_layers(model))
        if not self.layers:
            raise SettingsError(
                f"{type(model).__name__} has no layers to compile, which are modules with a gradient_checkpointing "
                "switch; leave compile_layers off"
            )
        self._functions: dict[Hashable, tuple[PairFunction, LayerTree]] = {}

    def call(
        self,
        layer: nn.Module,
        inputs: LayerTree,
        forward: Callable[..., Any],
        weights: LayerWeights,
        duals: DualTensors,
    ) -> CompiledCall:
        """Return a call of a layer's compiled function, which compiles at its first run.

        Args:
            layer: One of `layers`.
            inputs: Its arguments.
            forward: Runs the layer as it is, which shows how its outputs nest.
            weights: Of the layer, in this product.
            duals: The tensors of the space.

        Raises:
            SettingsError: The layer cannot be compiled.
            SecondDerivativeError: The second derivatives of the first layer of its kind are wrong.
        """
        # The first argument is the residual stream. It moves in every layer but perhaps the first, where its tangent
        # is zero: another pattern of tangents would have to be compiled for that one layer.
        moving = tuple(i for i, tangent in enumerate(inputs.tangents) if tangent is not None or i == 0)
        constants = tuple("a tensor" if isinstance(leaf, Tensor) else frozen(leaf) for leaf in inputs.leaves)
        key = (weights.kind, str(inputs.spec), tuple(inputs.places), moving, constants)
        if key not in self._functions:
            args, options = inputs.filled(inputs.values, inputs.tangents)
            with torch.no_grad(), widened(list(layer.modules()), self.compute_dtype):
                outputs = LayerTree.of(forward(*args, **options)).emptied()
            function = _pair_function(
                without_weights(layer), inputs, moving, second_order=self.second_order, compute_dtype=self.compute_dtype
            )
            compiled: Any = torch.compile(function, fullgraph=True, backend=BACKEND, options=_OPTIONS.get(BACKEND))
            if self.second_order:
                trial = CompiledCall(compiled, outputs, weights, inputs, moving, duals)
                # The first run traces, which saved-tensor hooks prevent.
                trial.run(recorded=True)
                blocks = list(weights.blocks.values())
                check_against_double_backward(trial.gradients, layer, forward, inputs, moving, blocks, duals)
            self._functions[key] = compiled, outputs
        function, outputs = self._functions[key]
        return CompiledCall(function, outputs, weights, inputs, moving, duals)


def compiled_layers(
    model: nn.Module, wanted: bool, compute_dtype: torch.dtype | None, *, second_order: bool
) -> CompiledLayers | None:
    """Return the compiled layers of a model, or None if they are not wanted.

    Raises:
        SettingsError: There is nothing to compile, or a type is asked for that needs compiled layers.
    """
    if wanted:
        return CompiledLayers(model, second_order=second_order, compute_dtype=compute_dtype)
    if compute_dtype is not None:
        raise SettingsError(f"compute_dtype={compute_dtype} needs compile_layers=True; or load the model in that type")
    return None


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weights of one layer in one product.

    Attributes:
        tensors: Parameters and buffers by name; those of the space are leaves that require a gradient.
        directions: v of those.
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
        directions = {name: duals.tangent(block) for name, block in blocks.items()}
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


def _pair_function(
    template: nn.Module,
    inputs: LayerTree,
    moving: Sequence[int],
    *,
    second_order: bool,
    compute_dtype: torch.dtype | None,
) -> PairFunction:
    """Return the function of a kind of layer, for arguments that nest like `inputs`."""
    others = [place for i, place in enumerate(inputs.places) if i not in moving]
    others += [place for place, leaf in enumerate(inputs.leaves) if isinstance(leaf, Tensor)]
    places = [*(inputs.places[i] for i in moving), *others]
    rest = [None if isinstance(leaf, Tensor) else leaf for leaf in inputs.leaves]
    spec = inputs.spec

    def pair(
        values: Sequence[Tensor], tangents: Sequence[Tensor], fixed: Sequence[Tensor], weights: Named, directions: Named
    ) -> tuple[list[Tensor], list[Tensor]]:
        def outputs(moved: Sequence[Tensor], own: Named) -> list[Tensor]:
            leaves = list(rest)
            for place, value in zip(places, [*moved, *fixed], strict=True):
                leaves[place] = value
            args, options = tree_unflatten(leaves, spec)
            return floating_leaves(functional_call(template, {**weights, **own}, args, options))

        if compute_dtype is not None:
            weights = {name: t.to(compute_dtype) if t.is_floating_point() else t for name, t in weights.items()}
        found, pull = vjp(outputs, list(values), {name: weights[name] for name in directions})[:2]
        push = vjp(pull, [torch.zeros_like(value) for value in found])[1]
        moved: list[Tensor] = push((list(tangents), dict(directions)))[0]
        return found, moved if second_order else [tangent.detach() for tangent in moved]

    # PyTorch allows a code object eight compiled versions; each kind of layer gets its own, for lengths of its own.
    pair.__code__ = pair.__code__.replace(co_name=f"pair_{next(_NUMBERS)}")
    return pair
