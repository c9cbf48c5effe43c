"""m-sharpness: the mean over blocks of m examples of each block's own worst case.

    (1 / K) sum_k max_{||dW||_T <= rho} L_k(W + dW) - L_k(W)

It is what SAM minimises when every device perturbs by itself (Foret et al., 2021), and for small m it predicts
generalisation better than the worst case of all data (Andriushchenko and Flammarion, 2022). With one block of all
examples it is the worst case; the maximum inside makes it larger as m falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.sharpness.blocks import BlockEstimate, over_blocks
from analysis.sharpness.norms import ABSOLUTE, WeightNorm
from analysis.sharpness.worst import WorstCase, worst_case
from analysis.spaces import ParameterSpace


@dataclass(frozen=True)
class MinibatchSharpness:
    """m-sharpness with its error over blocks.

    Attributes:
        increase: Each block's worst case, their mean and its standard error.
        radius: rho in the norm, the same for every block.
        norm: absolute, adaptive or filter.
        max_steps: Most points of each block's ascent; 1 is the one-step value.
        converged: Share of the blocks whose ascent had stopped rising.
    """

    increase: BlockEstimate
    radius: float
    norm: str
    max_steps: int
    converged: float


def m_sharpness(
    blocks: Sequence[Objective],
    space: ParameterSpace,
    *,
    radius: float,
    norm: WeightNorm = ABSOLUTE,
    max_steps: int = 1,
    tolerance: float = 1e-2,
    on_progress: Progress = silent,
) -> MinibatchSharpness:
    """Return the mean of the blocks' own worst cases.

    Args:
        blocks: One objective per m examples, see `objective_blocks`.
        space: Where the weights may go.
        radius: rho = ||dW|| > 0 in `norm`.
        norm: How lengths are measured.
        max_steps: 1 for one gradient step, more for projected ascent, see `worst_case`.
        tolerance: Of the ascent, see `worst_case`.
        on_progress: Called after each block.

    Raises:
        SettingsError: There are fewer than two blocks, or a setting is out of range.
        DirectionError: The gradient of a block is zero.
    """
    found: list[WorstCase] = []

    def measure(objective: Objective) -> float:
        found.append(worst_case(objective, space, radius=radius, norm=norm, max_steps=max_steps, tolerance=tolerance))
        return found[-1].increase

    with space:
        increase = over_blocks(measure, blocks, on_progress=on_progress)
    converged = sum(one.converged for one in found) / len(found)
    return MinibatchSharpness(increase, radius, norm.name, max_steps, converged)
