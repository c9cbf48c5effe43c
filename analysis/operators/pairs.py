"""The arguments and outputs of a layer, whose floating tensors may be dual, taken apart and put together again.

A layer that is recomputed or compiled in a curvature product is run as a function of values and tangents, plain
tensors. Layers take and return whatever they like, nested; only tensors of a floating type can move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from analysis.errors import SettingsError
from analysis.operators.duals import dual, parts

Tangents = Sequence[Tensor | None]
"""One per value; None where it does not move."""


@dataclass(frozen=True, eq=False)
class LayerTree:
    """Arguments or outputs of a layer.

    Attributes:
        spec: How they nest.
        leaves: Everything in it; None in the places of floating tensors.
        places: Which leaves are floating tensors.
        values: These, without their tangents.
        tangents: Their tangents.
    """

    spec: TreeSpec
    leaves: Sequence[Any]
    places: Sequence[int]
    values: Sequence[Tensor]
    tangents: Tangents

    @classmethod
    def of(cls, tree: Any) -> LayerTree:
        """Take arguments or outputs apart."""
        leaves, spec = tree_flatten(tree)
        places = [i for i, leaf in enumerate(leaves) if is_floating(leaf)]
        split = [parts(leaves[place]) for place in places]
        rest = [None if is_floating(leaf) else leaf for leaf in leaves]
        return cls(spec, rest, places, [value for value, _ in split], [tangent for _, tangent in split])

    def emptied(self) -> LayerTree:
        """Return the nesting alone, to be filled with the outputs of other calls.

        Raises:
            SettingsError: There is a tensor in it that is not of a floating type, which another call has differently.
        """
        if any(isinstance(leaf, Tensor) for leaf in self.leaves):
            raise SettingsError(
                "a layer returns a tensor that is not of a floating type, so it cannot be compiled for curvature "
                "products; leave compile_layers off"
            )
        return replace(self, values=(), tangents=())

    def filled(self, values: Sequence[Tensor], tangents: Tangents | None = None) -> Any:
        """Return the tree with other floating tensors, duals where they move; without `tangents` none does."""
        leaves = list(self.leaves)
        moves = [None] * len(self.places) if tangents is None else tangents
        for place, value, tangent in zip(self.places, values, moves, strict=True):
            leaves[place] = value if tangent is None else dual(value, tangent)
        return tree_unflatten(leaves, self.spec)


def floating_leaves(tree: Any) -> list[Tensor]:
    """Return the floating tensors of a tree, as they are."""
    return [leaf for leaf in tree_leaves(tree) if is_floating(leaf)]


def is_floating(leaf: Any) -> bool:
    """Return whether a leaf is a tensor that can move."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()
