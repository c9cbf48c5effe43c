"""Measure how flat a minimum is: curvature, sharpness and landscapes of any torch model and loss.

`measure_flatness` does all of it for a PEFT LoRA model in the merged weights and in the adapter's own coordinates;
its parts (`Objective`, `parameter_space`, `HessianOperator`, `eigenvalues`, `worst_case`, `average_case`, `slices`)
serve any module and loss.
"""

from analysis.errors import (
    AnalysisError,
    DirectionError,
    ObjectiveError,
    SecondDerivativeError,
    SettingsError,
    SpaceError,
)
from analysis.flatness import Flatness, SpaceFlatness, measure_flatness
from analysis.landscape import Slices, filter_normalised_direction, slices, symmetric_alphas
from analysis.objective import Objective, causal_lm_loss
from analysis.operators import CurvatureOperator, HessianOperator
from analysis.settings import FlatnessSettings
from analysis.sharpness import AverageCase, Linearisation, WorstCase, average_case, linearise, worst_case
from analysis.spaces import FullSpace, ParameterSpace, parameter_space, space_names
from analysis.spectrum import EigenPair, Spectrum, eigenpairs, eigenvalues

__all__ = [
    "AnalysisError",
    "AverageCase",
    "CurvatureOperator",
    "DirectionError",
    "EigenPair",
    "Flatness",
    "FlatnessSettings",
    "FullSpace",
    "HessianOperator",
    "Linearisation",
    "Objective",
    "ObjectiveError",
    "ParameterSpace",
    "SecondDerivativeError",
    "SettingsError",
    "Slices",
    "SpaceError",
    "SpaceFlatness",
    "Spectrum",
    "WorstCase",
    "average_case",
    "causal_lm_loss",
    "eigenpairs",
    "eigenvalues",
    "filter_normalised_direction",
    "linearise",
    "measure_flatness",
    "parameter_space",
    "slices",
    "space_names",
    "symmetric_alphas",
    "worst_case",
]
