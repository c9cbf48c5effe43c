from __future__ import annotations

import numpy as np
import pytest

from analysis import SettingsError
from analysis.landscape import covering_alphas, symmetric_alphas
from analysis.landscape.positions import check_evenly_spaced


def test_symmetric_alphas() -> None:
    assert symmetric_alphas(0.5, 5) == (-0.5, -0.25, 0.0, 0.25, 0.5)
    for points in (4, 1):
        with pytest.raises(SettingsError, match="odd number"):
            symmetric_alphas(0.5, points)
    with pytest.raises(SettingsError, match="positive multiple"):
        symmetric_alphas(-0.5, 5)


@pytest.mark.parametrize("coordinates", [(-8.0, -3.0, 0.0), (1.0, 5.0), (-2.0, 7.0, 1.0)])
@pytest.mark.parametrize("points", [5, 11, 12])
def test_covering_alphas_hold_every_coordinate_and_zero(coordinates, points) -> None:
    found = covering_alphas(coordinates, points, margin=0.25)
    assert found[0] <= min(coordinates)
    assert found[-1] >= max(coordinates)
    assert 0.0 in found
    assert points - 2 <= len(found) <= points
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-9)
    check_evenly_spaced(found, name="alphas")


def test_impossible_positions_are_refused() -> None:
    with pytest.raises(SettingsError, match="at least 5"):
        covering_alphas((1.0,), 4)
    with pytest.raises(SettingsError, match="span no range"):
        covering_alphas((0.0, 0.0), 9)
    for positions in ((0.0, 1.0), (0.0, 1.0, 3.0), (1.0, 0.0, -1.0)):
        with pytest.raises(SettingsError, match=r"betas is .*equally spaced"):
            check_evenly_spaced(positions, name="betas")
