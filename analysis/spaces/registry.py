"""Names of the parameter spaces, and the one function that builds a space from its name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from torch import nn

from analysis.errors import SpaceError
from analysis.spaces.base import ParameterSpace
from analysis.spaces.full import FullSpace
from analysis.spaces.lora import LoraSpace
from analysis.spaces.tangent import TangentSpace

_SPACES: dict[str, Callable[[nn.Module], ParameterSpace]] = {
    space.name: space for space in (FullSpace, LoraSpace, TangentSpace)
}

space_names = tuple(_SPACES)


def check_space_name(name: str) -> str:
    """Return a name that is known, or refuse it with the nearest one.

    Raises:
        SpaceError: The name is unknown.
    """
    if name not in _SPACES:
        near = get_close_matches(name, space_names, n=1, cutoff=0.0)[0]
        raise SpaceError(f"unknown space {name!r}; did you mean {near!r}? Known: {', '.join(space_names)}")
    return name


def parameter_space(model: nn.Module, name: str) -> ParameterSpace:
    """Return the parameter space `name` of a model.

    Args:
        model: The model whose flatness is measured.
        name: `full`, `lora` or `tangent`. A full space of chosen parameters is built by `FullSpace` itself.

    Raises:
        SpaceError: The name is unknown, or the model does not have that space.
    """
    return _SPACES[check_space_name(name)](model)
