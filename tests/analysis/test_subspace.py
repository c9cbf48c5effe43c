"""Restriction of an operator to a basis."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from analysis import BasisOperator, DirectionError, subspace_curvature


def orthonormal(operator, count):
    """Return orthonormal vectors of an operator's domain, and the same as a matrix (n, count)."""
    generator = np.random.default_rng(0)
    matrix, _ = np.linalg.qr(generator.standard_normal((operator.dimension, count)))
    sizes = [len(block) for block in operator.like]
    return [list(torch.from_numpy(column.copy()).split(sizes)) for column in matrix.T], matrix


def test_the_restriction_is_that_of_the_dense_matrix(matrix_operator, symmetric_matrix) -> None:
    dense = symmetric_matrix([5.0, 2.0, -1.0, 0.5, 0.25, -3.0])
    operator = matrix_operator(dense)
    basis, P = orthonormal(operator, 3)
    notes = []
    found = subspace_curvature(operator, basis, on_progress=lambda fraction, note: notes.append(fraction))
    image = dense @ P
    np.testing.assert_allclose(found.matrix, P.T @ image, atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(P.T @ image)[::-1], atol=1e-12)
    expected = np.linalg.norm(image - P @ (P.T @ image)) / np.linalg.norm(image)
    assert found.outside == pytest.approx(expected, rel=1e-10)
    assert notes == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert json.loads(json.dumps(asdict(found)))["products"] == 3
    small = BasisOperator(operator, basis)
    coordinates = small.random_direction(seed=0, stream="test")
    np.testing.assert_allclose(small.matvec(coordinates)[0], P.T @ image @ coordinates[0].numpy(), atol=1e-12)
    assert (small.dimension, small.products) == (3, 1)


def test_an_invariant_subspace_has_nothing_outside_and_zero_has_no_share(matrix_operator, symmetric_matrix) -> None:
    dense = symmetric_matrix([5.0, 2.0, -1.0, 0.5])
    operator = matrix_operator(dense)
    _, eigenvectors = np.linalg.eigh(dense)
    sizes = [len(block) for block in operator.like]
    basis = [list(torch.from_numpy(column.copy()).split(sizes)) for column in eigenvectors.T[-2:]]
    found = subspace_curvature(operator, basis)
    assert found.outside < 1e-12
    assert found.eigenvalues == pytest.approx((5.0, 2.0), rel=1e-12)
    nothing = subspace_curvature(matrix_operator(np.zeros((4, 4))), basis)
    assert (nothing.outside, nothing.eigenvalues) == (0.0, (0.0, 0.0))


def test_a_basis_that_is_not_orthonormal_is_refused(matrix_operator, symmetric_matrix) -> None:
    operator = matrix_operator(symmetric_matrix([1.0, 2.0, 3.0]))
    basis, _ = orthonormal(operator, 2)
    with pytest.raises(DirectionError, match=r"<0, 0> is 4, expected 1; orthonormalise"):
        BasisOperator(operator, [[2.0 * block for block in basis[0]]])
    with pytest.raises(DirectionError, match=r"<0, 1> is 1, expected 0"):
        BasisOperator(operator, [basis[0], basis[0]])
    with pytest.raises(DirectionError, match="the basis is empty"):
        subspace_curvature(operator, [])
