"""Dynamics: what happens to the adapters while they train."""

from analysis.dynamics.cosines import CosinesToFinal, cosines_to_final
from analysis.dynamics.recorder import Dynamics, DynamicsRecorder
from analysis.dynamics.terms import PerturbationTerms, perturbation_terms, sam_perturbation

__all__ = [
    "CosinesToFinal",
    "Dynamics",
    "DynamicsRecorder",
    "PerturbationTerms",
    "cosines_to_final",
    "perturbation_terms",
    "sam_perturbation",
]
