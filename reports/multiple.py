"""Several comparisons at once: Holm's correction of their probabilities.

Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979: the smallest
of m probabilities is multiplied by m, the next by m - 1 and so on, and none may fall below one before it. The chance of
any false difference among the m stays below the level whatever their dependence.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Return the adjusted probabilities in the order given.

    Raises:
        ValueError: One is not in [0, 1].
    """
    if any(not 0.0 <= p <= 1.0 for p in probabilities):
        raise ValueError(f"expected probabilities in [0, 1], found {list(probabilities)}")
    adjusted = [0.0] * len(probabilities)
    reached = 0.0
    for rank, place in enumerate(sorted(range(len(probabilities)), key=lambda place: probabilities[place])):
        reached = max(reached, min(1.0, (len(probabilities) - rank) * probabilities[place]))
        adjusted[place] = reached
    return tuple(adjusted)
