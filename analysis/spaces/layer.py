"""The space of one layer: `layer:NAME`, the merged matrix of the module with that name.

Layers differ in curvature by orders of magnitude, and a user who knows one from a report types the end of its name. Any
unique ending is accepted, an ambiguous one is answered with the candidates and an unknown one with the
nearest name. Modules inside a PEFT layer (the base layer, the factors) are not offered, the layer itself is.
"""

from __future__ import annotations

from difflib import get_close_matches

from torch import Tensor, nn

from analysis.errors import SpaceError
from analysis.spaces.full import WeightSpace
from analysis.spaces.merged import MergedMatrix, merged_matrices, zero_offset

PREFIX = "layer:"


class LayerSpace(WeightSpace):
    """The merged matrix of one module.

    Args:
        model: Any module.
        layer: Dotted name of a module with a weight, or a unique ending of it at a dot.

    Raises:
        SpaceError: No module has that name, or several do.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        matrix = _find(model, layer)
        self.name = PREFIX + matrix.name
        super().__init__(model, [matrix])


def _find(model: nn.Module, layer: str) -> MergedMatrix:
    matrices = {matrix.name: matrix for matrix in merged_matrices(model)}
    inside = tuple(f"{name}." for name in matrices)
    plain = {
        name: module
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor) and name not in matrices and not name.startswith(inside)
    }
    known = [*matrices, *plain]
    found = [layer] if layer in known else [name for name in known if name.endswith(f".{layer}")]
    if not found:
        endings = {part: name for name in known for part in (name, ".".join(name.split(".")[-2:]), name.split(".")[-1])}
        near = get_close_matches(layer, endings, n=1, cutoff=0.0)
        hint = f"; the nearest is {endings[near[0]]!r}" if near else ""
        raise SpaceError(f"the model has no layer {layer!r} with a weight{hint}")
    if len(found) > 1:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise SpaceError(f"{len(found)} layers are called {layer!r} ({shown}); write more of the name")
    name = found[0]
    if name in matrices:
        return matrices[name]
    module = plain[name]
    if module.weight.is_floating_point():
        return MergedMatrix(name, module, module.weight)
    offset = zero_offset(module, module.in_features, module.out_features)
    return MergedMatrix(name, module, offset.weight, offset)
