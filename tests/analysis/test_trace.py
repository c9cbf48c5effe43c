from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from analysis import AnalysisError, HessianOperator, Objective, SettingsError, parameter_space, trace

rng = np.random.default_rng(0)
SIZE = 300
SPECTRA = {
    "outliers and a fast decay": [*(2.0 ** -np.arange(40.0)), *np.full(SIZE - 45, 1e-3), 10.0, 8.0, 6.0, 5.0, 4.0],
    "outliers and a symmetric bulk": [*rng.normal(0.02, 0.1, SIZE - 6), 5.0, 6.0, 8.0, 11.0, -1.0, -2.0],
    "flat": rng.uniform(0.5, 1.5, SIZE),
}
METHODS = ["auto", "xtrace", "hutch++", "hutchinson"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SPECTRA)
def test_the_estimate_is_unbiased_and_its_interval_covers(matrix_operator, name, method) -> None:
    exact = float(np.sum(SPECTRA[name]))
    operator = matrix_operator(np.diag(SPECTRA[name]))
    runs = [
        trace(operator, method=method, tolerance=1e-9, max_products=40, basis_size=16, seed=seed) for seed in range(60)
    ]
    errors = np.array([run.value - exact for run in runs])
    assert abs(errors.mean()) < 3.5 * errors.std() / math.sqrt(len(errors))
    covered = np.mean([run.low <= exact <= run.high for run in runs])
    # Leave-one-out estimates of a spectrum with a fast decay have heavy tails: there 95 % intervals covered 89 %.
    assert covered > 0.8
    stated = np.sqrt(np.mean([run.standard_error**2 for run in runs]))
    assert 0.6 < stated / np.sqrt(np.mean(errors**2)) < 1.6


@pytest.mark.parametrize("basis_size", [0, 8, 64])
def test_the_tolerance_is_reached_and_kept(matrix_operator, basis_size) -> None:
    values = SPECTRA["outliers and a symmetric bulk"]
    exact = float(np.sum(values))
    runs = [
        trace(matrix_operator(np.diag(values)), tolerance=0.05, max_products=2000, basis_size=basis_size, seed=seed)
        for seed in range(20)
    ]
    assert all(run.converged and run.standard_error <= 0.05 * abs(run.value) for run in runs)
    assert np.sqrt(np.mean([(run.value - exact) ** 2 for run in runs])) < 0.08 * exact
    assert {run.method for run in runs} <= ({"xtrace", "xtrace and hutch++"} if basis_size else {"hutchinson"})


def test_keeping_vectors_saves_products_on_a_spectrum_with_outliers(matrix_operator) -> None:
    operator = matrix_operator(np.diag(SPECTRA["outliers and a fast decay"]))
    with_basis, without = (trace(operator, tolerance=0.01, max_products=20_000, basis_size=size) for size in (64, 0))
    assert with_basis.converged
    assert without.converged
    assert with_basis.products < without.products / 20


def test_the_basis_grows_only_where_that_pays(matrix_operator) -> None:
    """In a flat spectrum a basis of eight takes nothing out of the variance, and probes cost half."""
    settings = {"tolerance": 1e-9, "max_products": 96, "basis_size": 32}
    # Signs that alternate: the trace is small beside the variance.
    flat, steep = (
        matrix_operator(np.diag(values))
        for values in (np.where(np.arange(SIZE) % 2, 1.0, -0.9), SPECTRA["outliers and a fast decay"])
    )
    adapted, fixed = (
        [trace(flat, method=method, seed=seed, **settings) for seed in range(40)] for method in ("auto", "xtrace")
    )
    assert np.median([run.samples for run in adapted]) >= 8 + 80 - 16
    errors = [np.sqrt(np.mean([(run.value - 15.0) ** 2 for run in runs])) for runs in (adapted, fixed)]
    assert errors[0] < 0.8 * errors[1]
    assert np.median([trace(steep, seed=seed, **settings).samples for seed in range(10)]) <= 32 + 32


@pytest.mark.parametrize("method", ["auto", "xtrace", "hutch++"])
def test_a_sketch_that_spans_the_range_is_exact(matrix_operator, symmetric_matrix, method) -> None:
    low_rank = symmetric_matrix([5.0, -3.0, 1.0] + [0.0] * 97)
    for matrix in (low_rank, symmetric_matrix(range(5)), np.zeros((40, 40))):
        found = trace(matrix_operator(matrix), method=method, basis_size=20)
        assert found.value == pytest.approx(np.trace(matrix), abs=1e-10)
        assert found.standard_error == 0.0
        assert found.low == found.high == found.value
        assert found.converged
        assert found.products <= 12
        assert found.method == ("hutch++" if method == "hutch++" else "xtrace")


def test_samples_are_those_of_their_definition(matrix_operator, symmetric_matrix) -> None:
    """XTrace with its k x k shortcuts, against k bases built without one test vector each."""
    matrix = symmetric_matrix(SPECTRA["outliers and a symmetric bulk"][-60:])
    operator = matrix_operator(matrix)
    size, columns = len(matrix), 9
    found = trace(operator, method="xtrace", tolerance=1e-9, max_products=2 * columns, seed=4)
    tests = [torch.cat(operator.random_direction(seed=4, stream=f"trace-{i}")).numpy() for i in range(columns)]
    estimates = []
    for index, test in enumerate(tests):
        others = np.stack([t for i, t in enumerate(tests) if i != index], axis=1)
        basis, _ = np.linalg.qr(matrix @ others)
        rest = test - basis @ (basis.T @ test)
        scale = (size - columns + 1) / (rest @ rest)
        estimates.append(np.trace(basis.T @ matrix @ basis) + scale * (rest @ matrix @ rest))
    assert found.value == pytest.approx(np.mean(estimates), rel=1e-9)
    assert found.standard_error == pytest.approx(np.std(estimates, ddof=1) / math.sqrt(columns), rel=1e-7)
    assert found.products == 2 * columns


@pytest.mark.parametrize("name", ["lora", "tangent"])
@pytest.mark.parametrize("method", ["xtrace", "hutchinson"])
def test_a_models_trace_agrees_with_its_dense_hessian(tiny_lora, batches, dense_hessian, columns, name, method) -> None:
    """In the tangent space the number of directions is not the number of entries."""
    model = tiny_lora(targets=("q_proj", "v_proj")).eval()
    with parameter_space(model, name) as space:
        dense = dense_hessian(model, batches, space)
        if name == "tangent":
            projector = columns(space.project, space)
            dense = projector @ dense @ projector
        operator = HessianOperator(Objective(model, batches), space)
        found = trace(operator, method=method, tolerance=1e-9, max_products=60)
    assert abs(found.value - np.trace(dense)) < 4 * found.standard_error
    assert found.standard_error < 0.5 * np.abs(np.linalg.eigvalsh(dense)).sum()
    assert found.dimension == space.dimension


def test_storage_moves_the_basis_and_progress_ends_at_one(matrix_operator, symmetric_matrix) -> None:
    operator = matrix_operator(symmetric_matrix(SPECTRA["flat"]))
    reports: list[float] = []
    device = trace(operator, max_products=40, tolerance=1e-9, on_progress=lambda done, _: reports.append(done))
    host = trace(operator, max_products=40, tolerance=1e-9, basis_storage="host")
    assert host.value == device.value
    assert all(0.0 < done <= 1.0 for done in reports)
    assert reports[-1] == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "hutch"}, r"method is 'hutch'; expected one of .*did you mean 'hutch\+\+'\?"),
        ({"tolerance": 0.0}, "tolerance is 0.0; expected a positive"),
        ({"max_products": 15}, "max_products is 15; expected at least 16"),
        ({"method": "xtrace", "basis_size": 7}, "basis_size is 7; method='xtrace' needs at least 8"),
        ({"basis_dtype": torch.float16}, "basis_dtype is torch.float16"),
    ],
)
def test_impossible_settings_are_refused(matrix_operator, symmetric_matrix, settings, message) -> None:
    with pytest.raises(SettingsError, match=message):
        trace(matrix_operator(symmetric_matrix(range(40))), **settings)


@pytest.mark.parametrize("method", METHODS)
def test_unsymmetric_operators_and_products_that_are_not_finite_are_refused(matrix_operator, method) -> None:
    operator = matrix_operator(np.full((30, 30), np.nan))
    with pytest.raises(AnalysisError, match="not finite"):
        trace(operator, method=method)
    operator.symmetric = False
    with pytest.raises(SettingsError, match="not symmetric"):
        trace(operator, method=method)
