"""Which settings a search tries: as many for every method, the same ones for all of one kind, fixed before any is run.

The first trial is the default setting. Further ones walk a low-discrepancy sequence (van der Corput 1935; with two
dimensions Halton 1960), so that any number of trials covers the range evenly and a longer search begins with a shorter
one. Learning rates are the same sequence of multiples of the task's calibrated rate for every method, from a quarter to
four times. A method with a radius pairs each of them with a radius between 0.001 and 0.5; a method without spends the
same number of trials on rates alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bilora.methods import METHODS
from bilora.methods.options import option_names

RATES = (0.25, 4.0)
RADII = (0.001, 0.5)
#: Options that are a radius, the first that a method has.
_RADIUS_OPTIONS = ("rho", "sigma")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting of a search.

    Attributes:
        index: Its place in the sequence, 0 for the default setting.
        rate_factor: Multiple of the calibrated learning rate.
        radius: Value of the method's radius option; None leaves it as given.
    """

    index: int
    rate_factor: float
    radius: float | None

    def options(self, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a method's options in this trial."""
        name = radius_option(method)
        return dict(given) if name is None or self.radius is None else {**given, name: self.radius}


def radius_option(method: str) -> str | None:
    """Return the name of the option that is a method's radius, or None if it has none."""
    names = option_names(METHODS[method].options_class)
    return next((name for name in _RADIUS_OPTIONS if name in names), None)


def trials(method: str, count: int) -> list[Trial]:
    """Return the first `count` trials of a method."""
    has_radius = radius_option(method) is not None
    return [
        Trial(
            index=index,
            # The sequence begins in the middle of the range, which is the calibrated rate.
            rate_factor=_between(RATES, van_der_corput(index + 1, base=2)),
            radius=_between(RADII, van_der_corput(index, base=3)) if has_radius and index else None,
        )
        for index in range(count)
    ]


def van_der_corput(index: int, *, base: int) -> float:
    """Return the digits of `index` mirrored at the point: 1, 2, 3 in base 2 are 1/2, 1/4, 3/4."""
    value, share = 0.0, 1.0
    while index:
        index, digit = divmod(index, base)
        share /= base
        value += digit * share
    return value


def _between(ends: tuple[float, float], share: float) -> float:
    """Return the point at a share of the way on a logarithmic scale, to three digits."""
    low, high = ends
    return float(f"{low * (high / low) ** share:.3g}")
