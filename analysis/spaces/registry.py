"""Names of the parameter spaces, and the one function that builds a space from its name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from torch import nn

from analysis.errors import SpaceError
from analysis.spaces.base import ParameterSpace
from analysis.spaces.full import AllSpace, FullSpace
from analysis.spaces.layer import PREFIX, LayerSpace
from analysis.spaces.lora import AuxiliarySpace, LoraSpace
from analysis.spaces.tangent import TangentSpace

_WEIGHTS: dict[str, Callable[[nn.Module], ParameterSpace]] = {"full": FullSpace, "all": AllSpace}
_FACTORS: dict[str, type[LoraSpace] | type[TangentSpace]] = {
    space.name: space for space in (LoraSpace, TangentSpace, AuxiliarySpace)
}

space_names = (*_WEIGHTS, *_FACTORS)
"""Every name but those of single layers, which are `layer:NAME`."""


def check_space_name(name: str) -> str:
    """Return a name that is known, or refuse it with the nearest one.

    Raises:
        SpaceError: The name is unknown.
    """
    if name not in space_names and not (name.startswith(PREFIX) and name != PREFIX):
        near = get_close_matches(name, [*space_names, PREFIX], n=1, cutoff=0.0)[0]
        near = PREFIX + "NAME" if near == PREFIX else near
        known = ", ".join([*space_names, PREFIX + "NAME"])
        raise SpaceError(f"unknown space {name!r}; did you mean {near!r}? Known: {known}")
    return name


def parameter_space(model: nn.Module, name: str, *, adapter: str | None = None) -> ParameterSpace:
    """Return the parameter space `name` of a model.

    Args:
        model: The model whose flatness is measured.
        name: `full`, `all`, `lora`, `tangent`, `auxiliary` or `layer:NAME`, NAME a module's dotted name or a unique
            ending of it. A full space of chosen parameters is built by `FullSpace` itself.
        adapter: Whose factors the spaces of factors take, see `adapted_layers`; the spaces of weights know none.

    Raises:
        SpaceError: The name is unknown, or the model does not have that space.
    """
    check_space_name(name)
    if name.startswith(PREFIX):
        return LayerSpace(model, name.removeprefix(PREFIX))
    return _WEIGHTS[name](model) if name in _WEIGHTS else _FACTORS[name](model, adapter=adapter)
