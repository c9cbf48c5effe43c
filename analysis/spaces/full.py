"""Spaces of weights: the merged matrices of the adapted layers, of one layer, or everything there is.

For a PEFT model the coordinates of `full` are the matrices W of every adapted layer. Merging is not needed: dL/dW is
the gradient with respect to the base weight, in place, or to an offset of zeros where the layer is not plain LoRA
(`analysis.spaces.merged`). For any other module they are named parameters, by default the weights of its linear layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from torch import Tensor, nn

from analysis.errors import SpaceError, nearest
from analysis.spaces.adapted import AdaptedLayer
from analysis.spaces.base import WIDE_TYPES, ParameterSpace
from analysis.spaces.merged import MergedMatrix, adding, merged_matrices


class WeightSpace(ParameterSpace):
    """A space whose blocks are weights of the model, or offsets of its layers.

    Args:
        model: Holds the layers.
        matrices: One per block.

    Attributes:
        matrices: What stands behind each block.
        layers: The plain LoRA layers among them.
    """

    def __init__(self, model: nn.Module, matrices: Sequence[MergedMatrix]) -> None:
        super().__init__(model, {matrix.name: matrix.tensor for matrix in matrices})
        self.matrices = tuple(matrices)
        self.layers: list[AdaptedLayer] = [matrix.layer for matrix in matrices if matrix.layer is not None]

    def _gauge(self) -> AbstractContextManager[None]:
        return adding(self.matrices)

    def modules(self) -> Iterator[nn.Module]:
        """Yield the modules of the model, and the offsets."""
        yield from super().modules()
        yield from (matrix.offset for matrix in self.matrices if matrix.offset is not None)

    def merged_weights(self) -> Iterator[Tensor]:
        """Yield W of every block, the adapters' share included."""
        for matrix in self.matrices:
            yield matrix.merged()

    def row_norms(self) -> list[Tensor]:
        """Return the norms of the rows of W, the adapters' share included."""
        return [matrix.row_norms() for matrix in self.matrices]

    def check_wide(self) -> None:
        """Refuse weights, and layers with an offset, in which a small change would be rounded away."""
        super().check_wide()
        for matrix in self.matrices:
            if narrow := matrix.outputs.difference(WIDE_TYPES):
                raise SpaceError(
                    f"{matrix.name} computes in {narrow.pop()}, in which a small change of its output is rounded away; "
                    "load the model with dtype=torch.float32 (a 4-bit base with bnb_4bit_compute_dtype=torch.float32)"
                )


class FullSpace(WeightSpace):
    """Merged matrices of the adapted layers, or named parameters of a plain module.

    Args:
        model: A PEFT model or any module.
        parameters: Names of parameters; None takes the adapted layers, or of a module without adapters every
            nn.Linear weight once, except those tied to something else, such as an embedding.

    Raises:
        SpaceError: An unknown name, or nothing to measure.
    """

    name = "full"

    def __init__(self, model: nn.Module, *, parameters: Sequence[str] | None = None) -> None:
        if parameters is not None:
            matrices = _named(model, parameters)
        else:
            matrices = merged_matrices(model) or _linear_weights(model)
        super().__init__(model, matrices)


class AllSpace(WeightSpace):
    """Every floating parameter of a model, tied ones once; of a PEFT model merged matrices instead of factors.

    The factors of an adapter are left out because the merged matrices already move whatever they move, and
    because a Hessian in factors depends on their gauge.

    Args:
        model: Any module.
    """

    name = "all"

    def __init__(self, model: nn.Module) -> None:
        merged = merged_matrices(model)
        biases = {id(getattr(matrix.module.get_submodule("base_layer"), "bias", None)) for matrix in merged}
        taken = {id(parameter) for matrix in merged for parameter in matrix.module.parameters()} - biases
        rest = [
            MergedMatrix(name, model, parameter)
            for name, parameter in model.named_parameters()
            if id(parameter) not in taken and parameter.is_floating_point()
        ]
        super().__init__(model, [*merged, *rest])


def _linear_weights(model: nn.Module) -> list[MergedMatrix]:
    """Return every weight that linear layers alone hold, once."""
    elsewhere = {
        id(parameter)
        for module in model.modules()
        for attribute, parameter in module._parameters.items()
        if not (isinstance(module, nn.Linear) and attribute == "weight")
    }
    found: dict[int, MergedMatrix] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and id(module.weight) not in elsewhere:
            found.setdefault(id(module.weight), MergedMatrix(f"{name}.weight", module, module.weight))
    return list(found.values())


def _named(model: nn.Module, names: Sequence[str]) -> list[MergedMatrix]:
    """Return the named parameters, or refuse the first unknown name with the nearest one."""
    known = dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        if name not in known:
            raise SpaceError(f"the model has no parameter {name!r}{nearest(name, known)}")
    return [MergedMatrix(name, model, known[name]) for name in names]
