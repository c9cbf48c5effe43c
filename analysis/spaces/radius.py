"""How far to go along a curve of weights to reach a radius: the smallest root of one quartic.

Moving the factors of a product by t (a, b) changes the weights by t X + t^2 Y, so that any weighted squared length of
the change is c2 t^2 + c3 t^3 + c4 t^4. The factor space and the weighted norms of sharpness both ask for the first t
at which that length is the radius; this is where it is solved.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.errors import DirectionError


def smallest_scale(c2: float, c3: float, c4: float, radius: float) -> float:
    """Return the smallest t > 0 with c4 t^4 + c3 t^3 + c2 t^2 = radius^2.

    It is solved for u = 1 / t, whose quartic u^4 - c2 u^2 - c3 u - c4 has leading coefficient one (with radius 1); in
    t a small move makes c4 vanish and the roots useless.

    Args:
        c2: ||X||^2 of the linear term.
        c3: 2 <X, Y>.
        c4: ||Y||^2 of the quadratic term.
        radius: The wanted length, positive.

    Raises:
        DirectionError: Neither term moves the weights.
    """
    units = [radius / c2**0.5] if c2 > 0 else []
    units += [(radius / c4**0.5) ** 0.5] if c4 > 0 else []
    if not units or not math.isfinite(min(units)):
        raise DirectionError(f"the direction does not move the weights; no multiple reaches radius {radius}")
    unit = min(units)
    reciprocal = np.roots([1.0, 0.0, *(-c * unit**k / radius**2 for c, k in ((c2, 2), (c3, 3), (c4, 4)))])
    real = [root.real for root in reciprocal if abs(root.imag) <= 1e-6 * abs(root)]
    return float(unit / max(real))
