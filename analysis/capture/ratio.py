"""How much of the full space's sharpness a subspace sees, at one radius in the weights.

    captured = max over the subspace / max over all weights   of L(W + dW) - L(W),  ||dW||_F <= rho in both

The ascent in the full space also starts from the subspace's best point, since a larger set cannot have a smaller
maximum; so the ratio is at most one whatever the ascents miss. To first order it is the cosine of the gradient and the
subspace's own gradient step, which is recorded beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from analysis import vectors
from analysis.errors import SettingsError
from analysis.objective import Objective
from analysis.progress import Progress, silent, within
from analysis.sharpness import (
    ABSOLUTE,
    Linearisation,
    WeightNorm,
    WorstCase,
    linearise,
    weight_change,
    worst_case_point,
)
from analysis.spaces import ParameterSpace, WeightSpace
from analysis.vectors import Vector


@dataclass(frozen=True)
class CapturedSharpness:
    """Sharpness of a subspace against that of the whole.

    Attributes:
        subspace: Worst case in the subspace.
        full: Worst case in the full space, at the same radius.
        ratio: subspace.increase / full.increase, at most 1; None if the loss did not rise in the full space.
        first_order: Cosine of G and the subspace's gradient step of length rho: the same ratio for a small radius.
    """

    subspace: WorstCase
    full: WorstCase
    ratio: float | None
    first_order: float


def captured_sharpness(
    objective: Objective,
    subspace: ParameterSpace,
    full: WeightSpace,
    *,
    radius: float,
    norm: WeightNorm = ABSOLUTE,
    max_steps: int = 50,
    tolerance: float = 1e-2,
    restarts: int = 0,
    seed: int = 0,
    on_progress: Progress = silent,
) -> CapturedSharpness:
    """Return the worst case in a subspace, in the full space, and their ratio.

    Args:
        objective: The token-weighted mean loss.
        subspace: lora, auxiliary or tangent.
        full: The full space of the same model and layers.
        radius: rho = ||dW|| > 0 in `norm`, in both.
        norm: How lengths are measured, see `WeightNorm`.
        max_steps: Most points from each start, see `worst_case`.
        tolerance: Of the ascents.
        restarts: Further random starts in each space.
        seed: Seed of those.
        on_progress: Called after each step.

    Raises:
        SettingsError: A setting is out of range, or the two spaces do not move the same matrices.
        DirectionError: A gradient is zero.
    """
    search = partial(
        worst_case_point,
        objective,
        radius=radius,
        norm=norm,
        max_steps=max_steps,
        tolerance=tolerance,
        restarts=restarts,
        seed=seed,
    )
    with subspace:
        here = linearise(objective, subspace)
        inside, point = search(subspace, at=here, on_progress=within(on_progress, 0.0, 0.5, label=subspace.name))
        direction = norm.ascent_direction(subspace, here.gradient)
        reach = norm.scale_to_radius(subspace, direction, radius)
        step = weight_change(subspace, vectors.scale(direction, reach))
        start = weight_change(subspace, point)
    with full:
        at = linearise(objective, full)
        _check_same_weights(subspace, here, start, full, at)
        report = within(on_progress, 0.5, 1.0, label=full.name)
        outside, _ = search(full, starts=[start], at=at, on_progress=report)
    return CapturedSharpness(
        subspace=inside,
        full=outside,
        ratio=inside.increase / outside.increase if outside.increase > 0.0 else None,
        first_order=vectors.dot(at.gradient, step) / (at.gradient_norm * vectors.norm(step)),
    )


def _check_same_weights(
    subspace: ParameterSpace, here: Linearisation, change: Vector, full: WeightSpace, at: Linearisation
) -> None:
    """Refuse two spaces that do not move the same matrices from the same values."""
    if [block.shape for block in change] != [tensor.shape for tensor in full.tensors]:
        raise SettingsError(
            f"the {subspace.name} space moves other matrices than the {full.name} one; build both of one model"
        )
    if not math.isclose(at.loss, here.loss, rel_tol=1e-4):
        raise SettingsError(
            f"the loss is {here.loss:.6g} in the {subspace.name} space but {at.loss:.6g} in the {full.name} one, so "
            "they start from different weights; make the same adapters active for both"
        )
