"""Quantiles of Student's t distribution for any number of degrees of freedom, whole or not.

With x = sqrt(f) tan(u) the density is proportional to cos(u)^(f - 1) on (-pi/2, pi/2), which is integrated by
Gauss-Legendre quadrature and inverted by bisection. SciPy would do the same; it is no dependency of a report.
"""

from __future__ import annotations

import math

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
#: Beyond this the law is the normal one to four digits, and its mass too narrow for the quadrature.
_NEARLY_NORMAL = 1e4


def t_quantile(probability: float, degrees: float) -> float:
    """Return x with P(T <= x) = probability for T with `degrees` > 0 degrees of freedom.

    Raises:
        ValueError: The probability is not inside (0, 1), or the degrees are not positive.
    """
    if not 0.0 < probability < 1.0 or not degrees > 0.0:
        raise ValueError(f"expected a probability in (0, 1) and degrees above 0, found {probability} and {degrees}")
    if probability < 0.5:
        return -t_quantile(1.0 - probability, degrees)
    degrees = min(degrees, _NEARLY_NORMAL)
    share = 2.0 * probability - 1.0
    whole = _integral(math.pi / 2.0, degrees)
    low, high = 0.0, math.pi / 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _integral(middle, degrees) < share * whole else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2.0)


def _integral(angle: float, degrees: float) -> float:
    """Return the integral of cos(u)^(degrees - 1) over (0, angle), with u = angle (1 - v^2) against a singular end."""
    v = (_NODES + 1.0) / 2.0
    # cos(u) = sin(pi/2 - u) keeps its digits near the end, where fewer than one degree would make it singular.
    cosines = np.sin(math.pi / 2.0 - angle * (1.0 - v**2))
    return float(np.sum(_WEIGHTS / 2.0 * cosines ** (degrees - 1.0) * 2.0 * angle * v))
