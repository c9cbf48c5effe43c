"""The full space: the merged weight matrices themselves.

For a PEFT model the coordinates are W = W0 + s B A of every adapted layer. Merging is not needed: W depends on W0 with
derivative one, so dL/dW is the gradient with respect to the base weight, in place, and moving W0 moves W. For any
other module the coordinates are named parameters, by default the weights of its linear layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from torch import Tensor, nn

from analysis.errors import SpaceError
from analysis.spaces.adapted import AdaptedLayer, adapted_layers
from analysis.spaces.base import ParameterSpace


class FullSpace(ParameterSpace):
    """Merged matrices of the adapted layers, or named parameters of a plain module.

    Args:
        model: A PEFT LoRA model or any module.
        parameters: Names of parameters; None takes the adapted layers, or every nn.Linear weight of a
            module without adapters.

    Raises:
        SpaceError: An unknown name, or nothing to measure.
    """

    name = "full"

    def __init__(self, model: nn.Module, *, parameters: Sequence[str] | None = None) -> None:
        self.layers: list[AdaptedLayer] = [] if parameters is not None else adapted_layers(model)
        if parameters is not None:
            blocks: dict[str, Tensor] = _named(model, parameters)
        elif self.layers:
            blocks = {layer.name: layer.weight for layer in self.layers}
        else:
            blocks = {
                f"{name}.weight": module.weight
                for name, module in model.named_modules()
                if isinstance(module, nn.Linear)
            }
        super().__init__(model, blocks)

    def row_norms(self) -> list[Tensor]:
        """Return the norms of the rows of W, the adapter's share included."""
        if not self.layers:
            return super().row_norms()
        return [layer.row_norms().to(layer.weight.dtype) for layer in self.layers]


def _named(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the named parameters, or refuse the first unknown name with the nearest one."""
    known = dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise SpaceError(f"the model has no parameter {name!r}{hint}")
    return {name: known[name] for name in names}
