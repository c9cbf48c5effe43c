from __future__ import annotations

import pytest
import torch

from analysis import SettingsError
from analysis.dynamics import cosines_to_final


def snapshot(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(2, n, generator=generator, dtype=torch.float64),
            torch.randn(m, 2, generator=generator, dtype=torch.float64),
            s,
        )
        for m, n, s in ((5, 7, 2.0), (3, 4, 0.5))
    ]


def cosine(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


def test_cosines_are_those_of_the_flattened_tensors() -> None:
    snapshots = [snapshot(seed) for seed in range(3)]
    found = cosines_to_final(snapshots)
    for index in range(3):
        for values, pick in (
            (found.A, lambda layer: layer[0]),
            (found.B, lambda layer: layer[1]),
            (found.product, lambda layer: layer[2] * layer[1] @ layer[0]),
        ):
            one, last = (torch.cat([pick(layer).flatten() for layer in s]) for s in (snapshots[index], snapshots[-1]))
            assert values[index] == pytest.approx(cosine(one, last), rel=1e-9)
    assert found.A[-1] == found.B[-1] == pytest.approx(1.0, rel=1e-12)


def test_another_gauge_changes_the_factors_cosine_and_not_the_products() -> None:
    turned = [(3.0 * a.flip(0), b.flip(1) / 3.0, s) for a, b, s in snapshot(0)]
    found = cosines_to_final([turned, snapshot(0)])
    assert found.product[0] == pytest.approx(1.0, rel=1e-12)
    assert abs(found.A[0]) < 0.9


def test_a_zero_factor_has_no_cosine() -> None:
    start = [(a, torch.zeros_like(b), s) for a, b, s in snapshot(0)]
    found = cosines_to_final([start, snapshot(1)])
    assert (found.B[0], found.product[0]) == (None, None)
    assert found.A[0] is not None


def test_no_snapshots_and_other_layers_are_refused() -> None:
    with pytest.raises(SettingsError, match="no snapshots"):
        cosines_to_final([])
    with pytest.raises(SettingsError, match="different numbers of layers"):
        cosines_to_final([snapshot(0), snapshot(1)[:1]])
