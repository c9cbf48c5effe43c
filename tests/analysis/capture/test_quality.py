from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import DirectionError, SettingsError, low_rank
from analysis.capture import adversary_quality, optimal_adversary

SHAPES = ((6, 9), (12, 5), (4, 4))


@pytest.fixture
def gradient() -> list[torch.Tensor]:
    generator = np.random.default_rng(0)
    return [torch.as_tensor(generator.standard_normal(shape)) for shape in SHAPES]


def top_rank_norm(gradient: list[torch.Tensor], rank: int) -> float:
    values = [np.linalg.svd(g.numpy(), compute_uv=False)[:rank] for g in gradient]
    return float(np.sqrt(sum((v**2).sum() for v in values)))


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_optimal_adversary_attains_the_bound_and_nothing_beats_it(gradient, rank) -> None:
    best = optimal_adversary(gradient, radius=0.3, rank=rank)
    assert low_rank.norm(best) == pytest.approx(0.3, rel=1e-12)
    found = adversary_quality(gradient, best)
    assert (found.quality, found.rank) == (pytest.approx(1.0, rel=1e-12), rank)
    assert found.best_rise == pytest.approx(0.3 * top_rank_norm(gradient, rank), rel=1e-12)
    assert found.rise == pytest.approx(found.best_rise, rel=1e-12)
    for a, b, _ in best:
        torch.testing.assert_close(a @ a.T, b.T @ b, rtol=1e-9, atol=1e-12)
    generator = torch.Generator().manual_seed(0)
    for spread in (1e-3, 1e-2, 0.1, 1.0) * 50:
        other = [
            (
                a + spread * torch.randn(a.shape, generator=generator, dtype=torch.float64),
                b + spread * torch.randn(b.shape, generator=generator, dtype=torch.float64),
                2.0,
            )
            for a, b, _ in best
        ]
        assert adversary_quality(gradient, other).quality < 1.0


def test_dense_and_factored_perturbations_agree(gradient) -> None:
    generator = torch.Generator().manual_seed(1)
    factors = [
        (
            torch.randn(2, n, generator=generator, dtype=torch.float64),
            torch.randn(m, 2, generator=generator, dtype=torch.float64),
            1.5,
        )
        for m, n in SHAPES
    ]
    dense = [low_rank.dense(f) for f in factors]
    found = adversary_quality(gradient, factors, radius=7.0)
    assert found.rank == 2
    expected = sum(float((g * d).sum()) for g, d in zip(gradient, dense, strict=True))
    length = np.sqrt(sum(float(d.square().sum()) for d in dense))
    steepest = np.sqrt(sum(float(g.square().sum()) for g in gradient))
    assert found.rise == pytest.approx(expected, rel=1e-12)
    assert found.quality == pytest.approx(expected / (7.0 * top_rank_norm(gradient, 2)), rel=1e-12)
    assert found.cosine == pytest.approx(expected / (length * steepest), rel=1e-12)
    again = adversary_quality(gradient, dense, radius=7.0, rank=2)
    assert (again.quality, again.cosine) == (pytest.approx(found.quality), pytest.approx(found.cosine))


def test_the_sign_is_that_of_descent_and_the_radius_scales(gradient) -> None:
    best = optimal_adversary(gradient, radius=0.3, rank=2)
    against = [(a, b, -s) for a, b, s in best]
    assert adversary_quality(gradient, against).quality == pytest.approx(-1.0, rel=1e-12)
    assert adversary_quality(gradient, best, radius=0.6).quality == pytest.approx(0.5, rel=1e-12)


def test_a_zero_adversary_has_quality_zero_and_no_cosine(gradient) -> None:
    zero = [(torch.ones(2, n).double(), torch.zeros(m, 2).double(), 1.0) for m, n in SHAPES]
    found = adversary_quality(gradient, zero, radius=0.1)
    assert (found.quality, found.cosine) == (0.0, None)
    with pytest.raises(DirectionError, match="perturbation is zero"):
        adversary_quality(gradient, zero)


def test_impossible_inputs_are_refused(gradient) -> None:
    with pytest.raises(SettingsError, match="give rank="):
        adversary_quality(gradient, gradient)
    with pytest.raises(SettingsError, match="2 layers of the perturbation for 3"):
        adversary_quality(gradient, gradient[:2], rank=1)
    with pytest.raises(DirectionError, match="gradient is zero"):
        optimal_adversary([torch.zeros(3, 3)], radius=1.0, rank=1)
    with pytest.raises(SettingsError, match="positive distance"):
        optimal_adversary(gradient, radius=0.0, rank=1)
