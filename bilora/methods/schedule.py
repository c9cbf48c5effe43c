"""How a method's coefficient falls over the planned optimizer steps.

The schedule is the method's own: it depends on the share of steps that are taken and not on the learning rate's
schedule, so that the two can be chosen apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bilora.methods.base import Method

SCHEDULES = ("constant", "linear", "cosine")


def remaining(method: Method, schedule: str) -> float:
    """Return the factor in [0, 1] of a coefficient that starts at 1 and, unless it is constant, ends at 0.

    Args:
        method: Whose steps are counted; only a constant schedule can do without a planned number of steps.
        schedule: `constant` (1), `linear` (1 - t) or `cosine` ((1 + cos(pi t)) / 2), t the share of steps taken.

    Raises:
        MethodError: If the schedule falls and nobody said how many steps there will be.
    """
    if schedule == "constant":
        return 1.0
    return 1.0 - method.progress if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * method.progress))
