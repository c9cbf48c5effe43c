from __future__ import annotations

import pytest
from scipy.stats import t

from reports.student import t_quantile


@pytest.mark.parametrize("degrees", [0.7, 1.0, 2.5, 4.0, 31.7, 900.0])
@pytest.mark.parametrize("probability", [0.025, 0.3, 0.5, 0.975, 0.9995])
def test_quantiles_are_scipys(degrees: float, probability: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(t.ppf(probability, degrees), rel=1e-4, abs=1e-12)


def test_impossible_arguments_are_refused() -> None:
    for probability, degrees in ((0.0, 3.0), (1.0, 3.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="expected a probability in"):
            t_quantile(probability, degrees)
