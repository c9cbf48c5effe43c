"""The robustness curve: loss and task metric at theta + alpha g / ||g||, the one-step attack of the paper's Table A6.

alpha is the Euclidean length in the coordinates of the space, as the paper has it: in the full space that of dW, in
the LoRA space that of the factors, here in the balanced gauge, since otherwise the attack would depend on how the
product is split. ||dW||_F of every point is recorded beside it, so that curves of two spaces can be drawn over one
axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from analysis import vectors
from analysis.errors import DirectionError, SettingsError
from analysis.modes import evaluation_mode
from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.sharpness.linearisation import Linearisation, linearise
from analysis.spaces import ParameterSpace

#: Lengths of the step along the normalised gradient in Table A6 of the Bi-LoRA paper.
PAPER_ALPHAS = (0.5, 1.0, 2.5, 4.0, 5.0)


@dataclass(frozen=True)
class RobustnessCurve:
    """Loss and metric along the normalised gradient; the first entry of every tuple is the unmoved model.

    Attributes:
        alphas: 0 and the lengths asked for, in the coordinates of the space.
        weight_norms: ||dW||_F of each point.
        losses: L of each point.
        metrics: Value of the metric at each point, or None.
    """

    alphas: tuple[float, ...]
    weight_norms: tuple[float, ...]
    losses: tuple[float, ...]
    metrics: tuple[float, ...] | None


def robustness_curve(
    objective: Objective,
    space: ParameterSpace,
    *,
    alphas: Sequence[float] = PAPER_ALPHAS,
    metric: Callable[[nn.Module], float] | None = None,
    at: Linearisation | None = None,
    on_progress: Progress = silent,
) -> RobustnessCurve:
    """Return loss and metric after gradient steps of the given lengths.

    Args:
        objective: The token-weighted mean loss, whose gradient is followed.
        space: The coordinates that are moved.
        alphas: Positive lengths.
        metric: Any number of the model, such as its accuracy on a task; called without gradients, in evaluation mode.
        at: Loss and gradient at the current weights, if known.
        on_progress: Called after each point.

    Raises:
        SettingsError: A length is not positive, or there is none.
        DirectionError: The gradient is zero.
    """
    if not alphas or not all(alpha > 0 for alpha in alphas):
        raise SettingsError(f"alphas is {list(alphas)}; expected one or more positive lengths such as {PAPER_ALPHAS}")
    losses, norms, metrics = [], [], []
    with space:
        start = at or linearise(objective, space)
        if start.gradient_norm == 0.0:
            raise DirectionError(f"the gradient is zero in the {space.name} space, so there is nothing to follow")
        for index, alpha in enumerate((0.0, *alphas)):
            step = vectors.scale(start.gradient, alpha / start.gradient_norm)
            norms.append(space.displacement_norm(step))
            with space.displaced(step):
                losses.append(objective.value() if alpha else start.loss)
                if metric is not None:
                    with evaluation_mode(space.model), torch.no_grad():
                        metrics.append(float(metric(space.model)))
            on_progress((index + 1) / (len(alphas) + 1), f"alpha {alpha:g}, loss {losses[-1]:.4g}")
    return RobustnessCurve((0.0, *alphas), tuple(norms), tuple(losses), tuple(metrics) if metric else None)
