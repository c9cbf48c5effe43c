from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.krylov import KrylovBasis


@pytest.fixture
def basis() -> KrylovBasis:
    """Return a basis of four orthonormal vectors of two blocks, the second longer than one strip of `compress`."""
    like = [torch.zeros(3, 2), torch.zeros(300_000)]
    found = KrylovBasis(like, capacity=5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        draw = [torch.randn(block.shape, generator=generator) for block in like]
        remainder, _, length = found.orthogonalise(draw)
        found.append(remainder, length)
    return found


def stacked(basis: KrylovBasis) -> np.ndarray:
    """Return the basis vectors as rows of one matrix."""
    return np.stack(
        [torch.cat([block.flatten() for block in basis.vector(i)]).double().numpy() for i in range(basis.size)]
    )


def test_vectors_are_orthonormal_and_keep_their_shapes(basis) -> None:
    rows = stacked(basis)
    np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-5)
    assert [block.shape for block in basis.vector(2)] == [(3, 2), (300_000,)]


def test_orthogonalise_splits_a_vector_into_its_two_parts(basis) -> None:
    rows = stacked(basis)
    outside = [torch.ones(3, 2), torch.ones(300_000)]
    np.testing.assert_allclose(basis.coefficients(outside), rows.sum(axis=1), atol=1e-4)
    remainder, coefficients, length = basis.orthogonalise(outside)
    flat = torch.cat([block.flatten() for block in remainder]).double().numpy()
    np.testing.assert_allclose(rows.T @ coefficients + flat, 1.0, atol=1e-5)
    np.testing.assert_allclose(rows @ flat, 0.0, atol=1e-4)
    assert length == pytest.approx(np.linalg.norm(flat), rel=1e-6)
    assert remainder[1].data_ptr() == outside[1].data_ptr(), "a second vector was made"


def test_a_vector_almost_inside_the_basis_still_leaves_an_orthogonal_remainder(basis) -> None:
    """One pass of Gram-Schmidt would leave components of the size of the remainder itself."""
    sweeps = basis.sweeps
    inside = [1e4 * one + two for one, two in zip(basis.vector(0), basis.vector(3), strict=True)]
    inside[1][7] += 0.5
    remainder, _, length = basis.orthogonalise(inside)
    overlap = stacked(basis) @ torch.cat([block.flatten() for block in remainder]).double().numpy()
    assert np.abs(overlap).max() < 1e-5 * length
    assert basis.sweeps >= sweeps + 3


def test_one_pass_is_enough_for_a_vector_that_is_mostly_outside(basis) -> None:
    sweeps = basis.sweeps
    rows = stacked(basis)
    remainder, _, length = basis.orthogonalise([torch.ones(3, 2), torch.ones(300_000)])
    overlap = rows @ torch.cat([block.flatten() for block in remainder]).double().numpy()
    assert basis.sweeps == sweeps + 2
    assert np.abs(overlap).max() < 1e-5 * length


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_expected_coefficients_save_a_sweep_if_they_are_right(basis, error) -> None:
    rows = stacked(basis)
    outside = [torch.ones(3, 2), torch.ones(300_000)]
    exact = rows.sum(axis=1)
    sweeps = basis.sweeps
    remainder, coefficients, length = basis.orthogonalise(outside, expected=exact + error)
    assert basis.sweeps == sweeps + (2 if error else 1)
    np.testing.assert_allclose(coefficients, exact, atol=1e-4)
    flat = torch.cat([block.flatten() for block in remainder]).double().numpy()
    np.testing.assert_allclose(flat, 1.0 - rows.T @ exact, atol=1e-5)
    assert length == pytest.approx(np.linalg.norm(flat), rel=1e-6)


def test_a_vector_inside_the_basis_and_one_that_is_not_finite_end_the_passes(basis) -> None:
    inside = [one.clone() for one in basis.vector(0)]
    assert basis.orthogonalise(inside)[2] < 1e-6
    assert np.isnan(basis.orthogonalise([torch.full((3, 2), torch.nan), torch.zeros(300_000)])[2])


def test_combine_and_compress_rotate_the_vectors(basis) -> None:
    rows = stacked(basis)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0][:, :2]
    combined = torch.cat([block.flatten() for block in basis.combine(rotation[:, 1])]).numpy()
    basis.compress(np.array([3.0, 4.0]), rotation)
    assert basis.size == 2
    np.testing.assert_allclose(stacked(basis), rotation.T @ rows, atol=1e-6)
    np.testing.assert_allclose(combined, rotation[:, 1] @ rows, atol=1e-6)
    np.testing.assert_array_equal(basis.projected, np.diag([3.0, 4.0, 0.0, 0.0, 0.0]))
