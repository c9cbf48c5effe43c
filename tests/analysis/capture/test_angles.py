from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from analysis import DirectionError, SettingsError, parameter_space, vectors
from analysis.capture import adapter_angles, leading_part, optimal_adversary, principal_angles, tangent_share
from analysis.low_rank import dense

M, N = 6, 5


def factors(rank: int, seed: int):
    generator = np.random.default_rng(seed)
    a, b = generator.standard_normal((rank, N)), generator.standard_normal((M, rank))
    return torch.as_tensor(a), torch.as_tensor(b), 1.5


def tangent_projector(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """The dense projector onto span{B E_ij + E_ij A}, from an orthonormal basis of that span."""
    spans = [np.outer(b[:, i], np.eye(N)[j]).ravel() for i in range(b.shape[1]) for j in range(N)]
    spans += [np.outer(np.eye(M)[j], a[i]).ravel() for i in range(len(a)) for j in range(M)]
    left, values, _ = np.linalg.svd(np.stack(spans, axis=1), full_matrices=False)
    basis = left[:, values > 1e-10]
    return basis @ basis.T


@pytest.mark.parametrize("ranks", [(2, 3), (3, 2), (1, 1)])
def test_principal_angles_are_those_of_scipy(ranks) -> None:
    x, y = (factors(rank, seed)[1] for seed, rank in enumerate(ranks))
    expected = sorted(subspace_angles(x.numpy(), y.numpy()))
    assert principal_angles(x, y) == pytest.approx(expected, rel=1e-9)


def test_tiny_angles_keep_their_digits() -> None:
    x = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [1e-9]], dtype=torch.float64)
    assert principal_angles(x, y) == (pytest.approx(1e-9, rel=1e-9),)
    assert principal_angles(x, x.flip(0)) == (pytest.approx(np.pi / 2, rel=1e-12),)
    assert principal_angles(x, torch.zeros_like(x)) == ()


def test_the_overlap_of_two_tangent_spaces_is_that_of_their_dense_projectors() -> None:
    x, y = factors(2, 0), factors(1, 1)
    (found,) = adapter_angles(["layer"], [x], [y])
    one, other = (tangent_projector(a.numpy(), b.numpy()) for a, b, _ in (x, y))
    expected = np.trace(one @ other) / min(np.trace(one), np.trace(other))
    assert found.tangent_overlap == pytest.approx(expected, rel=1e-9)
    assert found.columns == pytest.approx(sorted(subspace_angles(x[1].numpy(), y[1].numpy())), rel=1e-9)
    assert found.rows == pytest.approx(sorted(subspace_angles(x[0].T.numpy(), y[0].T.numpy())), rel=1e-9)
    (same,) = adapter_angles(["layer"], [x], [x])
    assert same.tangent_overlap == pytest.approx(1.0, rel=1e-12)
    assert same.columns == pytest.approx((0.0, 0.0), abs=1e-12)


def test_an_adapter_of_zeros_overlaps_with_nothing() -> None:
    zero = (torch.zeros(2, N).double(), torch.zeros(M, 2).double(), 1.0)
    (found,) = adapter_angles(["layer"], [factors(2, 0)], [zero])
    assert (found.tangent_overlap, found.columns, found.rows) == (0.0, (), ())


def test_the_share_of_a_vector_is_that_of_the_tangent_space(tiny_lora) -> None:
    model = tiny_lora()
    with parameter_space(model, "tangent") as space:
        z = [torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(7)) for t in space.tensors]
        found = tangent_share(z, [(layer.A, layer.B, layer.scaling) for layer in space.layers])
        assert found == pytest.approx((vectors.norm(space.project(z)) / vectors.norm(z)) ** 2, rel=1e-9)


def test_singular_vectors_of_the_gradient_lie_in_their_own_tangent_space() -> None:
    gradient = [torch.as_tensor(np.random.default_rng(5).standard_normal((M, N)))]
    best = optimal_adversary(gradient, radius=1.0, rank=2)
    assert tangent_share([dense(best[0])], best) == pytest.approx(1.0, rel=1e-12)
    (part,) = leading_part(gradient, rank=2)
    left, values, right = np.linalg.svd(gradient[0].numpy())
    np.testing.assert_allclose(dense(part), (left[:, :2] * values[:2]) @ right[:2], atol=1e-12)
    (found,) = adapter_angles(["layer"], best, [part])
    assert found.columns == pytest.approx((0.0, 0.0), abs=1e-7)


def test_zero_vectors_and_other_layers_are_refused() -> None:
    with pytest.raises(DirectionError, match="vector is zero"):
        tangent_share([torch.zeros(M, N)], [factors(2, 0)])
    with pytest.raises(SettingsError, match="2 blocks for 1 layers"):
        tangent_share([torch.zeros(M, N)] * 2, [factors(2, 0)])
