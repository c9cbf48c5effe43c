"""One projected gradient ascent on the loss within a ball of weights, from one start to where it stops rising.

Kept apart from the worst case because starts are many and this is what each of them does. The rate is doubled after a
better point and quartered after a worse one, and the ascent always goes on from the best point, so that no step
size has to be known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from analysis import vectors
from analysis.objective import Objective
from analysis.progress import Progress
from analysis.sharpness.linearisation import linearise
from analysis.sharpness.norms import WeightNorm
from analysis.spaces import ParameterSpace
from analysis.vectors import Vector


class Ascent:
    """The best point of one ascent and how it got there.

    Args:
        objective: The token-weighted mean loss.
        space: Where the steps are taken; entered.
        norm: How lengths are measured.
        radius: Largest length.
        loss: L at the unmoved weights.
        tolerance: See `worst_case`.

    Attributes:
        point: Best point so far, a vector of the space.
        increase: Its loss less `loss`.
        steps: Points visited.
        converged: Whether it stopped rising.
    """

    def __init__(
        self,
        objective: Objective,
        space: ParameterSpace,
        norm: WeightNorm,
        radius: float,
        *,
        loss: float,
        tolerance: float,
    ) -> None:
        self.point: Vector = []
        self.increase = -math.inf
        self.steps = 0
        self.converged = False
        self._objective = objective
        self._space = space
        self._norm = norm
        self._radius = radius
        self._loss = loss
        self._tolerance = tolerance
        self._gradient: Vector = []
        self._accepted: list[float] = []

    def climb(self, direction: Sequence[Tensor], *, max_steps: int, on_progress: Progress) -> None:
        """Go from the multiple of `direction` on the sphere to a point that is not improved, or to `max_steps`."""
        candidate = vectors.scale(direction, self._norm.scale_to_radius(self._space, direction, self._radius))
        rate, predicted = 0.5, math.inf
        while True:
            self.steps += 1
            # The last point's gradient would lead nowhere.
            increase, gradient = self._visit(candidate, with_gradient=self.steps < max_steps)
            if increase > self.increase:
                self.point, self.increase, self._gradient, rate = candidate, increase, gradient, 2.0 * rate
                self._accepted.append(increase)
                self.converged = self._stalled()
            else:
                rate /= 4.0
                # Along this step the loss bends down before its end, so no more than was predicted is to be had.
                self.converged = predicted <= self._tolerance * abs(self.increase)
            on_progress(self.steps / max_steps, f"step {self.steps} of {max_steps}, increase {self.increase:.4g}")
            if self.converged or self.steps == max_steps:
                break
            if not any(block.any() for block in self._gradient):
                self.converged = True
                break
            candidate = self._step(rate)
            predicted = vectors.dot(self._gradient, vectors.axpy(-1.0, self.point, candidate))
        if self.steps < max_steps:
            on_progress(1.0, f"stopped after {self.steps} steps, increase {self.increase:.4g}")

    def _stalled(self) -> bool:
        """Whether the last two accepted steps together gained at most the tolerance."""
        found = self._accepted
        return len(found) > 2 and found[-1] - found[-3] <= self._tolerance * abs(found[-1])

    def _step(self, rate: float) -> Vector:
        """Return the point a step away from the best one, put back on the sphere if it left the ball."""
        ascent = self._norm.ascent_direction(self._space, self._gradient)
        reach = rate * self._norm.scale_to_radius(self._space, ascent, self._radius)
        candidate = vectors.axpy(reach, ascent, self.point)
        if self._norm.length(self._space, candidate) > self._radius:
            return vectors.scale(candidate, self._norm.scale_to_radius(self._space, candidate, self._radius))
        return candidate

    def _visit(self, point: Sequence[Tensor], *, with_gradient: bool) -> tuple[float, Vector]:
        """Return the increase at a point and the gradient there, if wanted."""
        with self._space.displaced(point):
            if not with_gradient:
                return self._objective.value() - self._loss, []
            here = linearise(self._objective, self._space)
        return here.loss - self._loss, here.gradient
