"""Capture: how much of the full space's sharpness an adapter, a subspace or an adversary sees."""

from analysis.capture.angles import LayerAngles, adapter_angles, leading_part, principal_angles, tangent_share
from analysis.capture.proposition import PropositionThree, compare_proposition_three
from analysis.capture.quality import AdversaryQuality, adversary_quality, optimal_adversary
from analysis.capture.ratio import CapturedSharpness, captured_sharpness

__all__ = [
    "AdversaryQuality",
    "CapturedSharpness",
    "LayerAngles",
    "PropositionThree",
    "adapter_angles",
    "adversary_quality",
    "captured_sharpness",
    "compare_proposition_three",
    "leading_part",
    "optimal_adversary",
    "principal_angles",
    "tangent_share",
]
