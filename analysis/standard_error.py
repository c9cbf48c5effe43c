"""The mean of independent samples, its standard error, and the interval that the two make."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mean_and_error(samples: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error s / sqrt(N), s with N - 1; a single sample is taken as exact."""
    if len(samples) < 2:
        return sum(samples), 0.0
    return float(np.mean(samples)), float(np.std(samples, ddof=1)) / math.sqrt(len(samples))


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, to 1 % for 3 or more degrees of freedom.

    The expansion about the normal quantile z in powers of 1 / freedom (Abramowitz and Stegun, 26.7.5).
    """
    z = 1.959964
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
