"""Sharpness: how much the loss rises when the weights move by a given distance, in the norm and space of choice."""

from analysis.sharpness.average import AverageCase, average_case
from analysis.sharpness.blocks import BlockEstimate, block_estimate, objective_blocks, over_blocks, paired_difference
from analysis.sharpness.displacement import weight_change
from analysis.sharpness.gradient import GradientNorms, LayerGradient, gradient_norms
from analysis.sharpness.linearisation import Linearisation, linearise
from analysis.sharpness.minibatch import MinibatchSharpness, m_sharpness
from analysis.sharpness.norms import ABSOLUTE, NORMS, Lengths, WeightNorm, check_radius, convert_radius, lengths
from analysis.sharpness.robustness import PAPER_ALPHAS, RobustnessCurve, robustness_curve
from analysis.sharpness.worst import WorstCase, worst_case, worst_case_point

__all__ = [
    "ABSOLUTE",
    "NORMS",
    "PAPER_ALPHAS",
    "AverageCase",
    "BlockEstimate",
    "GradientNorms",
    "LayerGradient",
    "Lengths",
    "Linearisation",
    "MinibatchSharpness",
    "RobustnessCurve",
    "WeightNorm",
    "WorstCase",
    "average_case",
    "block_estimate",
    "check_radius",
    "convert_radius",
    "gradient_norms",
    "lengths",
    "linearise",
    "m_sharpness",
    "objective_blocks",
    "over_blocks",
    "paired_difference",
    "robustness_curve",
    "weight_change",
    "worst_case",
    "worst_case_point",
]
