from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import (
    AnalysisError,
    HessianOperator,
    Objective,
    SettingsError,
    eigenpairs,
    eigenvalues,
    parameter_space,
    vectors,
)

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


HESSIAN_LIKE = np.concatenate(
    [0.05 * rng.standard_normal(3000), 10.0 * 1.15 ** -np.arange(50.0), -(1.3 ** -np.arange(10.0))]
)


def hartley(x: torch.Tensor) -> torch.Tensor:
    """Return the discrete Hartley transform, which is orthogonal and its own inverse."""
    found = torch.fft.fft(x, norm="ortho")
    return found.real - found.imag


class Spread:
    """A matrix with given eigenvalues and eigenvectors that no entry dominates, as those of a network are.

    Its eigenvectors are those of a Hartley transform after random signs, so that thousands of dimensions cost nothing.
    Products may be rounded to a narrow type.
    """

    symmetric = True

    def __init__(self, values: np.ndarray, *, product_dtype: torch.dtype = torch.float64) -> None:
        self.values = torch.as_tensor(values)
        self.signs = torch.as_tensor(np.random.default_rng(7).choice([-1.0, 1.0], len(values)))
        self.dimension = len(values)
        self.products = 0
        self.product_dtype = product_dtype

    def matvec(self, vector):
        self.products += 1
        product = self.signs * hartley(self.values * hartley(self.signs * vector[0].double()))
        return [product.to(self.product_dtype).double()]

    def random_direction(self, *, seed, stream):
        return vectors.random([self.values], ["values"], seed=seed, stream=stream)


@pytest.mark.parametrize(("top", "bottom", "basis_size"), [(1, 1, 5), (5, 0, 8), (1, 0, 4)])
def test_the_smallest_basis_takes_few_more_products_on_a_hessian_like_spectrum(top, bottom, basis_size) -> None:
    """Outliers that decay into a bulk of both signs, with the smallest eigenvalue at a tenth of the largest."""
    small, large = (
        eigenvalues(Spread(HESSIAN_LIKE), top=top, bottom=bottom, tolerance=1e-3, basis_size=size)
        for size in (basis_size, 200)
    )
    assert small.converged
    assert small.products <= 2 * large.products
    exact = np.sort(HESSIAN_LIKE)
    np.testing.assert_allclose([pair.value for pair in small.top], exact[::-1][:top], rtol=2e-5)
    np.testing.assert_allclose([pair.value for pair in small.bottom], exact[:bottom], rtol=1e-3)


@pytest.mark.parametrize("basis_size", [5, 32])
def test_a_basis_in_host_memory_gives_the_same_numbers(basis_size) -> None:
    device, host = (
        eigenvalues(Spread(HESSIAN_LIKE), top=1, bottom=1, basis_size=basis_size, basis_storage=place)
        for place in ("device", "host")
    )
    assert host.top == device.top
    assert host.bottom == device.bottom
    assert (host.basis_storage, device.basis_storage) == ("host", "device")


@pytest.mark.parametrize("basis_size", [5, 32])
def test_a_bfloat16_basis_leaves_a_residual_but_hardly_an_error(basis_size) -> None:
    operator = Spread(HESSIAN_LIKE)
    spectrum, found = eigenpairs(
        operator, top=1, bottom=1, basis_size=basis_size, basis_dtype=torch.bfloat16, tolerance=1e-3
    )
    exact = [HESSIAN_LIKE.max(), HESSIAN_LIKE.min()]
    for pair, value, (x,) in zip(spectrum.top + spectrum.bottom, exact, found, strict=True):
        true_residual = float((operator.matvec([x])[0] - pair.value * x).norm()) / 10.0
        assert pair.converged
        # One rounding to 8 bits takes about 2^-9 of a vector's length; every restart rounds the kept ones again.
        assert true_residual < 8e-3
        assert pair.value == pytest.approx(value, abs=1e-4 * 10.0)
    assert spectrum.basis_dtype == "bfloat16"
    assert spectrum.asymmetry < 1e-3


def test_the_asymmetry_says_how_noisy_the_products_are() -> None:
    exact = eigenvalues(Spread(HESSIAN_LIKE), top=1, bottom=0)
    noisy = eigenvalues(Spread(HESSIAN_LIKE, product_dtype=torch.bfloat16), top=1, bottom=0)
    assert exact.asymmetry < 1e-12
    assert 1e-6 < noisy.asymmetry < 1e-3
    assert noisy.top[0].value == pytest.approx(10.0, rel=1e-4)


def test_a_second_start_finds_the_copies_of_a_multiple_eigenvalue() -> None:
    values = np.concatenate([[9.0, 9.0, 7.0], np.linspace(-1.0, 1.0, 500), [-4.0, -4.0, -3.0]])
    once = eigenvalues(Spread(values), top=2, bottom=2, tolerance=1e-4)
    np.testing.assert_allclose([pair.value for pair in once.top + once.bottom], [9, 7, -4, -3], rtol=1e-6)
    twice = eigenvalues(Spread(values), top=2, bottom=2, tolerance=1e-4, find_copies=True)
    np.testing.assert_allclose([pair.value for pair in twice.top + twice.bottom], [9, 9, -4, -4], rtol=1e-6)
    assert twice.converged
    assert twice.products > once.products


def test_the_search_for_copies_ends_where_there_are_none() -> None:
    reports: list[float] = []
    found = eigenvalues(
        Spread(HESSIAN_LIKE), top=2, bottom=0, find_copies=True, on_progress=lambda done, _: reports.append(done)
    )
    np.testing.assert_allclose([pair.value for pair in found.top], np.sort(HESSIAN_LIKE)[::-1][:2], rtol=1e-4)
    assert found.products < 100
    assert reports == sorted(reports)
    assert reports[-1] == 1.0


def test_an_operator_may_return_its_argument() -> None:
    class Identity(Spread):
        def matvec(self, vector):
            self.products += 1
            return list(vector)

    found = eigenvalues(Identity(np.ones(6)), top=2, bottom=1)
    np.testing.assert_allclose([pair.value for pair in found.top + found.bottom], 1.0, atol=1e-12)


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
