"""Parameter spaces: the coordinates in which flatness is measured, and their map to the weights."""

from analysis.spaces.adapted import AdaptedLayer, adapted_layers
from analysis.spaces.base import ParameterSpace
from analysis.spaces.full import AllSpace, FullSpace, WeightSpace
from analysis.spaces.layer import LayerSpace
from analysis.spaces.lora import AuxiliarySpace, LoraSpace, balanced_factors
from analysis.spaces.merged import MergedMatrix
from analysis.spaces.registry import check_space_name, parameter_space, space_names
from analysis.spaces.tangent import TangentSpace, column_basis

__all__ = [
    "AdaptedLayer",
    "AllSpace",
    "AuxiliarySpace",
    "FullSpace",
    "LayerSpace",
    "LoraSpace",
    "MergedMatrix",
    "ParameterSpace",
    "TangentSpace",
    "WeightSpace",
    "adapted_layers",
    "balanced_factors",
    "check_space_name",
    "column_basis",
    "parameter_space",
    "space_names",
]
