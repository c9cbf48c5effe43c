from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from analysis import AnalysisError, HessianOperator, Objective, eigenvalues, parameter_space, to_curvlinops, to_scipy


def test_scipy_finds_the_same_eigenvalues(tiny_lora, batches) -> None:
    eigsh = pytest.importorskip("scipy.sparse.linalg").eigsh
    model = tiny_lora().eval()
    with parameter_space(model, "full") as space:
        operator = HessianOperator(Objective(model, batches), space)
        exported = to_scipy(operator)
        theirs = eigsh(exported, k=2, which="LA", tol=1e-10, return_eigenvectors=False)
        ours = eigenvalues(operator, top=2, bottom=0, tolerance=1e-9)
    assert exported.shape == (space.dimension, space.dimension)
    np.testing.assert_allclose([pair.value for pair in ours.top], sorted(theirs, reverse=True), rtol=1e-8)


def test_scipys_products_are_the_operators(matrix_operator, symmetric_matrix) -> None:
    pytest.importorskip("scipy")
    matrix = symmetric_matrix(range(9))
    exported = to_scipy(matrix_operator(matrix, dtype=torch.float32))
    np.testing.assert_allclose(exported @ np.eye(9), matrix, atol=1e-5)
    np.testing.assert_allclose(exported.T @ np.eye(9), matrix, atol=1e-5)


def test_curvlinops_multiplies_and_composes(matrix_operator, symmetric_matrix) -> None:
    pytest.importorskip("curvlinops")
    matrix = symmetric_matrix(range(9))
    exported = to_curvlinops(matrix_operator(matrix))
    eye = torch.eye(9, dtype=torch.float64)
    np.testing.assert_allclose((exported @ eye).numpy(), matrix, atol=1e-12)
    np.testing.assert_allclose(((exported @ exported) @ eye[:, 0]).numpy(), (matrix @ matrix)[:, 0], atol=1e-12)
    blocks = exported @ [eye[:3, 0], eye[3:, 0]]
    assert [block.shape for block in blocks] == [(3,), (6,)]
    np.testing.assert_allclose(torch.cat(blocks).numpy(), matrix[:, 0], atol=1e-12)
    np.testing.assert_allclose(exported.to_scipy() @ np.eye(9), matrix, atol=1e-12)


@pytest.mark.parametrize(
    ("export", "library", "command"),
    [(to_scipy, "scipy.sparse.linalg", "pip install scipy"), (to_curvlinops, "curvlinops._torch_base", "--no-deps")],
)
def test_a_missing_library_is_named_with_its_remedy(
    monkeypatch, matrix_operator, symmetric_matrix, export, library, command
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(AnalysisError, match=command):
        export(matrix_operator(symmetric_matrix(range(4))))
