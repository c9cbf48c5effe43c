"""The merged matrix of one layer, and the tensor that moves it.

For plain LoRA the layer's matrix is W = W0 + s B A, and moving W0 moves W: the base weight is differentiated in
place. DoRA, HiRA, DeLoRA and other PEFT layers compute some other function of W0, and a quantised base has no
gradient at all; such a layer gets an offset E (m, n) of zeros, whose product x E^T is added to its output while
the space is entered. Moving E moves the layer's matrix, whatever it is made of. Nothing is merged and no
weight is copied; an offset costs one matrix of the layer's shape in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import SpaceError
from analysis.sharding import refuse_sharded
from analysis.spaces.adapted import AdaptedLayer, adapted_layers, kind_of, tuner_layers
from analysis.spaces.response import effective_weight
from analysis.vectors import working_dtype


@dataclass(frozen=True, eq=False)
class MergedMatrix:
    """The matrix W (m, n) of one layer.

    Attributes:
        name: Dotted name of the layer.
        module: Computes x W^T (plus a bias).
        tensor: Moving it moves W by the same amount.
        offset: Adds x E^T, E = `tensor`; None where the layer's own weight is moved.
        layer: The factors of a plain LoRA layer.
        outputs: The types of the outputs that an offset was added to so far.
    """

    name: str
    module: nn.Module
    tensor: Tensor
    offset: nn.Linear | None = None
    layer: AdaptedLayer | None = None
    outputs: set[torch.dtype] = field(default_factory=set)

    def merged(self) -> Tensor:
        """Return W (m, n) in the working type, an offset's share included; a weight of no layer as it is."""
        refuse_sharded(self.name, self.tensor)
        if self.offset is not None:
            like = self.offset.weight
            return (
                effective_weight(self.module, like.shape[1], dtype=like.dtype, device=like.device)
                + self.tensor.detach()
            )
        if self.layer is not None:
            return self.layer.merged()
        return self.tensor.detach().to(working_dtype(self.tensor.dtype))

    def row_norms(self) -> Tensor:
        """Return the norms (m,) of the rows of W."""
        refuse_sharded(self.name, self.tensor)
        if self.layer is not None and self.offset is None:
            return self.layer.row_norms().to(self.layer.weight.dtype)
        rows = self.merged()
        norms: Tensor = torch.linalg.vector_norm(rows.reshape(len(rows) if rows.dim() > 1 else 1, -1), dim=1)
        return norms


def merged_matrices(model: nn.Module) -> list[MergedMatrix]:
    """Return the matrices of all layers with an active PEFT adapter; an empty list if there are none.

    Raises:
        SpaceError: A layer is not linear, or a plain LoRA layer is merged, disabled or tied.
    """
    plain: dict[str, AdaptedLayer] = {}
    found = list(tuner_layers(model))
    if found and all(kind_of(module) == "LoRA" for _, module in found):
        plain = {layer.name: layer for layer in adapted_layers(model)}
    return [_matrix(name, module, plain.get(name)) for name, module in found]


def _matrix(name: str, module: Any, layer: AdaptedLayer | None) -> MergedMatrix:
    if layer is not None and layer.weight.is_floating_point():
        return MergedMatrix(name, module, layer.weight, layer=layer)
    base = module.base_layer
    if not (hasattr(base, "in_features") and hasattr(base, "out_features")):
        raise SpaceError(f"{name} adapts a {type(base).__name__}; only adapted linear layers are supported")
    offset = zero_offset(module, base.in_features, base.out_features)
    return MergedMatrix(name, module, offset.weight, offset, layer)


def zero_offset(module: nn.Module, inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer of zeros, float32 or the module's own wider type, that draws no random number."""
    floating = next((p for p in module.parameters() if p.is_floating_point()), None)
    dtype = torch.float32 if floating is None else working_dtype(floating.dtype)
    device = next(module.parameters()).device
    offset = nn.Linear(inputs, outputs, bias=False, dtype=dtype, device="meta").to_empty(device=device)
    nn.init.zeros_(offset.weight)
    return offset


@contextmanager
def adding(matrices: Sequence[MergedMatrix]) -> Iterator[None]:
    """Add the offsets' products to the outputs of their layers."""

    def hook(offset: nn.Linear, outputs: set[torch.dtype]) -> Any:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            outputs.add(output.dtype)
            product: Tensor = offset(inputs[0].to(offset.weight.dtype))
            return output + product.to(output.dtype)

        return add

    with ExitStack() as stack:
        for matrix in matrices:
            if matrix.offset is not None:
                handle = matrix.module.register_forward_hook(hook(matrix.offset, matrix.outputs))
                stack.callback(handle.remove)
        yield
