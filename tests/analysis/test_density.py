from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from analysis import AnalysisError, HessianOperator, Objective, SettingsError, parameter_space, spectral_density

rng = np.random.default_rng(0)
SPECTRA = {
    "outliers and a bulk": [*rng.normal(0, 0.3, 390), 5.0, 5.5, 6.0, 8.0, 11.0, -3.0, -3.5, -4.0, 2.0, 2.0],
    "semicircle": list(np.linalg.eigvalsh((lambda m: (m + m.T) / 40.0)(rng.standard_normal((400, 400))))),
    "two levels": [1.0] * 300 + [-2.0] * 100,
}


def smoothed_cdf(values, grid: np.ndarray, width: float) -> np.ndarray:
    """The cumulative distribution of the eigenvalues after the same smoothing."""
    distance = torch.as_tensor((grid[:, None] - np.asarray(values)) / width)
    return torch.special.ndtr(distance).mean(dim=1).numpy()


@pytest.mark.parametrize("reorthogonalise", [True, False])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_cumulative_density_is_that_of_the_eigenvalues(
    matrix_operator, symmetric_matrix, name, reorthogonalise
) -> None:
    values = SPECTRA[name]
    found = spectral_density(
        matrix_operator(symmetric_matrix(values)), draws=40, steps=40, tolerance=1e-9, reorthogonalise=reorthogonalise
    )
    grid, density = np.array(found.grid), np.array(found.density)
    distance = np.abs(np.array(found.cumulative) - smoothed_cdf(values, grid, found.width)).max()
    assert distance < 3.5 * found.cumulative_error + 1e-6
    assert found.cumulative_error < 0.01
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(
        np.diff(found.cumulative), 0.5 * (density[1:] + density[:-1]) * np.diff(grid), atol=2e-3 * density.max()
    )
    assert all(sum(weights) == pytest.approx(1.0) for weights in found.weights)
    assert found.products == sum(len(nodes) for nodes in found.nodes)
    assert max(map(max, found.nodes)) == pytest.approx(max(values), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_moments_are_those_of_the_matrix(matrix_operator, symmetric_matrix, dtype) -> None:
    values = np.array(SPECTRA["outliers and a bulk"])
    operator = matrix_operator(symmetric_matrix(values), dtype=dtype)
    found = [spectral_density(operator, draws=6, steps=10, tolerance=1e-9, seed=seed) for seed in range(25)]
    for name, exact in (("mean", values.mean()), ("second_moment", (values**2).mean())):
        errors = np.array([getattr(density, name) - exact for density in found])
        stated = np.array([getattr(density, f"{name}_error") for density in found])
        assert abs(errors.mean()) < 3 * errors.std() / 5.0
        assert 0.6 < np.sqrt((stated**2).mean() / (errors**2).mean()) < 1.6


def test_a_probe_is_the_gauss_quadrature_of_its_own_measure(matrix_operator, symmetric_matrix) -> None:
    """Exact for polynomials of degree up to 2 steps - 1, and for no further one."""
    matrix = symmetric_matrix(SPECTRA["outliers and a bulk"]) / 11.0
    operator = matrix_operator(matrix)
    found = spectral_density(operator, draws=1, steps=4)
    start = torch.cat(operator.random_direction(seed=0, stream="density-0")).numpy()
    start /= np.linalg.norm(start)
    nodes, weights = np.array(found.nodes[0]), np.array(found.weights[0])
    for power in range(10):
        exact = start @ np.linalg.matrix_power(matrix, power) @ start
        assert (abs(weights @ nodes**power - exact) < 1e-12) == (power < 8)
    assert found.cumulative_error == found.mean_error == 0.0
    assert not found.converged


def test_probes_stop_at_the_tolerance_and_the_seed_fixes_them(matrix_operator, symmetric_matrix) -> None:
    operator = matrix_operator(symmetric_matrix(SPECTRA["semicircle"]))
    reports: list[float] = []
    found = spectral_density(
        operator, draws=50, steps=20, tolerance=0.02, on_progress=lambda done, _: reports.append(done)
    )
    again = spectral_density(operator, draws=50, steps=20, tolerance=0.02)
    assert found.converged
    assert 3 <= found.draws < 50
    assert found.cumulative_error <= 0.02
    assert found.density == again.density
    assert reports == sorted(reports)
    assert reports[-1] == 1.0
    assert json.loads(json.dumps(asdict(found)))["draws"] == found.draws


@pytest.mark.parametrize("reorthogonalise", [True, False])
@pytest.mark.parametrize("level", [0.0, 2.0])
def test_an_invariant_start_ends_the_probe(matrix_operator, level, reorthogonalise) -> None:
    found = spectral_density(matrix_operator(level * np.eye(9)), draws=3, reorthogonalise=reorthogonalise)
    assert found.products == 3
    np.testing.assert_allclose(found.nodes, level, atol=1e-12)
    assert found.width == pytest.approx((level or 1.0) / 64)
    assert found.second_moment == pytest.approx(level**2)


def test_storage_changes_where_the_basis_lies_and_not_the_density(matrix_operator, symmetric_matrix) -> None:
    operator = matrix_operator(symmetric_matrix(SPECTRA["semicircle"]))
    device, host = (spectral_density(operator, draws=2, steps=10, basis_storage=place) for place in ("device", "host"))
    assert device.density == host.density


@pytest.mark.parametrize("name", ["full", "tangent"])
def test_a_models_density_agrees_with_its_dense_hessian(tiny_lora, batches, dense_hessian, columns, name) -> None:
    model = tiny_lora(targets=("q_proj", "v_proj")).eval()
    with parameter_space(model, name) as space:
        dense = dense_hessian(model, batches, space)
        if name == "tangent":
            frame = np.linalg.svd(columns(space.project, space))[0][:, : space.dimension]
            dense = frame.T @ dense @ frame
        operator = HessianOperator(Objective(model, batches), space)
        found = spectral_density(operator, draws=12, steps=30, tolerance=1e-9, width=0.05)
    cdf = smoothed_cdf(np.linalg.eigvalsh(dense), np.array(found.grid), 0.05)
    assert np.abs(np.array(found.cumulative) - cdf).max() < 3.5 * found.cumulative_error
    assert abs(found.mean - np.trace(dense) / len(dense)) < 4 * found.mean_error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 0}, "draws is 0; expected at least 1"),
        ({"steps": 1}, "steps is 1; expected at least 2"),
        ({"points": 3}, "points is 3; expected at least 32"),
        ({"tolerance": 0.0}, "tolerance is 0.0; expected a positive number"),
        ({"width": -1.0}, "width is -1.0; expected a positive number"),
        ({"width": 1e-6}, "raise points"),
        ({"basis_storage": "disk"}, "basis_storage is 'disk'"),
        ({"reorthogonalise": False, "basis_storage": "host"}, "reorthogonalise=True"),
    ],
)
def test_impossible_settings_are_refused(matrix_operator, symmetric_matrix, settings, message) -> None:
    with pytest.raises(SettingsError, match=message):
        spectral_density(matrix_operator(symmetric_matrix(range(10))), **settings)


@pytest.mark.parametrize("reorthogonalise", [True, False])
def test_unsymmetric_operators_and_products_that_are_not_finite_are_refused(matrix_operator, reorthogonalise) -> None:
    operator = matrix_operator(np.full((9, 9), np.nan))
    with pytest.raises(AnalysisError, match="not finite"):
        spectral_density(operator, reorthogonalise=reorthogonalise)
    operator.symmetric = False
    with pytest.raises(SettingsError, match="not symmetric"):
        spectral_density(operator)
