from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest
import torch

from analysis import AnalysisError, HessianOperator, Objective, SettingsError, eigenpairs, eigenvalues, parameter_space

rng = np.random.default_rng(0)
SPECTRA = {
    "outliers and a symmetric bulk": [*rng.normal(0, 0.3, 190), 5.0, 6.0, 8.0, 11.0, -3.0, -4.0],
    "close pairs of both signs": [*np.linspace(-1, 1, 150), 9.0, -9.01, 8.9, -8.95, 8.8],
    "a tight cluster on top": [*rng.uniform(-0.5, 0.5, 150), 3.0, 3.001, 3.002, 3.003],
    "no negative curvature": [0.0, 0.1, *rng.uniform(0.2, 1, 60), 4.0, 7.0],
    "all negative": list(-rng.uniform(1, 2, 120)),
    "geometric decay": list(1.2 ** -np.arange(30)),
}


@pytest.mark.parametrize("basis_size", [12, 40, 500])
@pytest.mark.parametrize("name", SPECTRA)
def test_both_ends_agree_with_numpy(matrix_operator, symmetric_matrix, name, basis_size) -> None:
    matrix = symmetric_matrix(SPECTRA[name])
    operator = matrix_operator(matrix)
    exact = np.linalg.eigvalsh(matrix)
    found = eigenvalues(operator, top=3, bottom=2, tolerance=1e-7, basis_size=basis_size, max_products=2000)
    assert found.converged
    np.testing.assert_allclose([pair.value for pair in found.top], exact[::-1][:3], atol=1e-6 * np.abs(exact).max())
    np.testing.assert_allclose([pair.value for pair in found.bottom], exact[:2], atol=1e-6 * np.abs(exact).max())
    assert found.products == operator.products
    if basis_size != 40:
        assert (found.restarts > 0) == (basis_size == 12)


@pytest.mark.parametrize(("top", "bottom"), [(4, 0), (0, 4), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_residuals_are_those_of_the_returned_vectors(matrix_operator, symmetric_matrix, dtype, top, bottom) -> None:
    values = SPECTRA["outliers and a symmetric bulk"]
    operator = matrix_operator(symmetric_matrix(values), dtype=dtype)
    spectrum, found = eigenpairs(operator, top=top, bottom=bottom, tolerance=1e-3, basis_size=12)
    largest = max(abs(v) for v in values)
    rounding = 1e-5 if dtype == torch.float32 else 1e-12
    assert len(found) == top + bottom
    for pair, blocks in zip(spectrum.top + spectrum.bottom, found, strict=True):
        x = torch.cat(blocks)
        assert float(x.norm()) == pytest.approx(1.0, abs=1e-5)
        true_residual = float((operator.matrix @ x - pair.value * x).norm())
        assert pair.residual == pytest.approx(true_residual, abs=rounding * largest)
        assert pair.relative_residual == pytest.approx(pair.residual / largest, rel=1e-2)
        assert pair.converged


def test_restarts_cost_few_products(matrix_operator, symmetric_matrix) -> None:
    matrix = symmetric_matrix(SPECTRA["all negative"])
    bounded, unbounded = (
        eigenvalues(matrix_operator(matrix), top=3, bottom=1, tolerance=1e-4, basis_size=size) for size in (14, 120)
    )
    assert bounded.restarts >= 2
    assert unbounded.restarts == 0
    assert bounded.products <= 2 * unbounded.products


def test_there_are_no_copies_of_eigenvalues(matrix_operator, symmetric_matrix) -> None:
    """Without reorthogonalisation the upper values all become copies of 100 within 80 products."""
    values = [100.0, 60.0, 40.0, 30.0, 20.0, *np.random.default_rng(1).normal(0, 1, 395)]
    found = eigenvalues(
        matrix_operator(symmetric_matrix(values), dtype=torch.float32), top=5, bottom=0, tolerance=1e-6, basis_size=100
    )
    np.testing.assert_allclose([pair.value for pair in found.top], values[:5], rtol=1e-5)


def test_an_exhausted_krylov_space_is_extended_by_a_new_start(matrix_operator, symmetric_matrix) -> None:
    """The Krylov space of one vector ends after as many products as there are different eigenvalues."""
    same = eigenvalues(matrix_operator(2.0 * np.eye(7)), top=2, bottom=2, tolerance=1e-9)
    np.testing.assert_allclose([pair.value for pair in same.top + same.bottom], 2.0, atol=1e-9)
    assert same.converged
    values = [2.0] * 4 + [1.0] * 5 + [-1.0] * 2
    whole = eigenvalues(matrix_operator(symmetric_matrix(values)), top=11, bottom=0, tolerance=1e-9)
    np.testing.assert_allclose([pair.value for pair in whole.top], values, atol=1e-9)


def test_zero_matrix(matrix_operator) -> None:
    found = eigenvalues(matrix_operator(np.zeros((6, 6))), top=2, bottom=1)
    assert [pair.value for pair in found.top + found.bottom] == [0.0, 0.0, 0.0]
    assert found.converged


def test_a_run_out_of_products_says_so(matrix_operator, symmetric_matrix) -> None:
    found = eigenvalues(
        matrix_operator(symmetric_matrix(SPECTRA["close pairs of both signs"])), tolerance=1e-8, max_products=6
    )
    assert found.products == 6
    assert not found.converged
    assert all(pair.converged == (pair.relative_residual <= 1e-8) for pair in found.top + found.bottom)


def test_the_seed_fixes_the_run_and_progress_ends_at_one(matrix_operator, symmetric_matrix) -> None:
    matrix = symmetric_matrix(SPECTRA["outliers and a symmetric bulk"])
    reports: list[tuple[float, str]] = []
    first = eigenvalues(matrix_operator(matrix), seed=3, on_progress=lambda done, note: reports.append((done, note)))
    again = eigenvalues(matrix_operator(matrix), seed=3)
    assert first.top == again.top
    assert len(reports) == first.products
    assert all(0.0 < done <= 1.0 for done, _ in reports)
    assert reports[-1][0] == 1.0
    assert "residual" in reports[-1][1]


def live_floats() -> int:
    """Return how many floating-point numbers are held by tensors, each storage counted once."""
    storages = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gc walks over deprecated attributes of other libraries
        for thing in gc.get_objects():
            if isinstance(thing, torch.Tensor) and thing.is_floating_point():
                storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes() // thing.element_size()
    return sum(storages.values())


def test_memory_is_that_of_the_basis_however_many_products_are_taken(matrix_operator) -> None:
    size, basis_size, peak = 5_000, 10, 0
    diagonal = torch.linspace(-1.0, 1.0, size, dtype=torch.float64)

    class Counting(matrix_operator):
        def matvec(self, vector):
            nonlocal peak
            self.products += 1
            if self.products % 5 == 0:  # a census takes long; restarts come every third product, so all phases are met
                peak = max(peak, live_floats())
            return list((diagonal * torch.cat(list(vector))).split([len(block) for block in self.like]))

    operator = Counting(np.zeros((1, 1)))
    operator.dimension = size
    operator.like = [torch.zeros(2_000, dtype=torch.float64), torch.zeros(3_000, dtype=torch.float64)]
    before = live_floats()
    found = eigenvalues(operator, top=2, bottom=2, tolerance=1e-12, basis_size=basis_size, max_products=60)
    assert found.restarts > 5
    # The basis with the residual's vector, the start vector, and the vector in work.
    assert peak - before <= (basis_size + 1 + 4) * size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top": 0, "bottom": 0}, "not both 0"),
        ({"top": -1}, "expected numbers >= 0"),
        ({"top": 8, "bottom": 3}, "only 10 directions"),
        ({"tolerance": 0.0}, "positive relative residual"),
        ({"basis_size": 5}, r"top \+ bottom \+ 3 = 7"),
        ({"max_products": 0}, "at least 1"),
        ({"max_products": 2}, r"fewer than top \+ bottom = 4"),
    ],
)
def test_impossible_settings_are_refused(matrix_operator, symmetric_matrix, settings, message) -> None:
    with pytest.raises(SettingsError, match=message):
        eigenvalues(matrix_operator(symmetric_matrix(range(10))), **settings)


def test_unsymmetric_operators_and_products_that_are_not_finite_are_refused(matrix_operator) -> None:
    operator = matrix_operator(np.full((9, 9), np.nan))
    with pytest.raises(AnalysisError, match="not finite"):
        eigenvalues(operator)
    operator.symmetric = False
    with pytest.raises(SettingsError, match="not symmetric"):
        eigenvalues(operator)


@pytest.mark.parametrize("name", ["full", "lora", "tangent"])
def test_a_models_eigenvalues_agree_with_its_dense_hessian(tiny_lora, batches, dense_hessian, columns, name) -> None:
    model = tiny_lora(layers=2).eval()
    with parameter_space(model, name) as space:
        dense = dense_hessian(model, batches, space)
        if name == "tangent":
            frame = np.linalg.svd(columns(space.project, space))[0][:, : space.dimension]
            dense = frame.T @ dense @ frame
        exact = np.linalg.eigvalsh(dense)
        found = eigenvalues(HessianOperator(Objective(model, batches), space), top=3, bottom=2, tolerance=1e-6)
    scale = np.abs(exact).max()
    np.testing.assert_allclose([pair.value for pair in found.top], exact[::-1][:3], atol=1e-6 * scale)
    np.testing.assert_allclose([pair.value for pair in found.bottom], exact[:2], atol=1e-6 * scale)


def test_pyhessian_agrees_on_the_largest_magnitude(tiny_lora, batches, mean_token_loss) -> None:
    from pyhessian import hessian

    model = tiny_lora(attention="eager").eval()
    space = parameter_space(model, "full")
    found = eigenvalues(HessianOperator(Objective(model, batches), space), top=1, bottom=1, tolerance=1e-6)
    ours = max((found.top[0].value, found.bottom[0].value), key=abs)

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return mean_token_loss(self.inner, batches)

    one = torch.zeros(1)
    torch.manual_seed(0)
    with space, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
        peer = hessian(Loss(), lambda output, _: output, data=(one, one), cuda=False)
        theirs = peer.eigenvalues(maxIter=500, tol=1e-7)[0][0]
        for parameter in model.parameters():
            parameter.grad = None
    assert ours == pytest.approx(theirs, rel=1e-4)
