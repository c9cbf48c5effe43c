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
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.utils._pytree import tree_unflatten

from analysis.errors import SettingsError
from analysis.modes import repeated_layers, widened
from analysis.operators.compiled_call import CompiledCall, LayerWeights, Named, PairFunction
from analysis.operators.compiled_check import check_against_double_backward
from analysis.operators.duals import DualTensors
from analysis.operators.layer_kind import frozen, without_weights
from analysis.operators.pairs import LayerTree, floating_leaves

BACKEND = "inductor"
# Of what PyTorch would keep for the backward pass this share is kept and the rest computed again: 57.7 instead of
# 68.8 GB for a product of an 8B model on 4 x 256 tokens, in the same time (H200).
KEPT_SHARE = 0.6
# Triton 3.6, which comes with PyTorch 2.11, fails on the end of a norm's derivative fused with all that follows:
# "PassManager::run failed". In kernels of at most four parts it does not arise, and they are as fast.
_OPTIONS: dict[str, dict[str, Any]] = {"inductor": {"max_fusion_size": 4}}

_NUMBERS = itertools.count()


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
        own = {name: weights[name] for name in directions}
        # Cast in here, one layer at a time: a second copy of the whole direction may not fit beside a large model.
        moves = {name: direction.to(own[name].dtype) for name, direction in directions.items()}
        found, pull = vjp(outputs, list(values), own)[:2]
        push = vjp(pull, [torch.zeros_like(value) for value in found])[1]
        moved: list[Tensor] = push((list(tangents), moves))[0]
        return found, moved if second_order else [tangent.detach() for tangent in moved]

    # PyTorch allows a code object eight compiled versions; each kind of layer gets its own, for lengths of its own.
    pair.__code__ = pair.__code__.replace(co_name=f"pair_{next(_NUMBERS)}")
    return pair
