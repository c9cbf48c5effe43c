from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from analysis import (
    DirectionError,
    Objective,
    SettingsError,
    average_case,
    linearise,
    parameter_space,
    vectors,
    worst_case,
)
from analysis.spaces import adapted_layers

SPACES = ("full", "lora", "tangent")


def trust_region_maximum(hessian: np.ndarray, gradient: np.ndarray, radius: float) -> float:
    """Return max g.x + x.H x / 2 over ||x|| <= radius, from (mu I - H) x = g with mu >= lambda_max, ||x|| = radius."""
    values, basis = np.linalg.eigh(hessian)
    g = basis.T @ gradient
    if values.max() < 0 and np.linalg.norm(g / values) <= radius:
        return float(-0.5 * g @ (g / values))
    largest = max(values.max(), 0.0)

    def excess(mu: float) -> float:
        return float(np.linalg.norm(g / (mu - values)) - radius)

    mu = brentq(excess, largest + 1e-9, largest + np.linalg.norm(g) / radius + 1.0)
    x = g / (mu - values)
    return float(g @ x + 0.5 * x @ (values * x))


def test_one_step_is_the_closed_form_on_a_quadratic(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([4.0, 1.0, -2.0, 0.5]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    found = worst_case(objective, space, radius=0.7, steps=1)
    x = 0.7 * gradient / np.linalg.norm(gradient)
    assert found.increase == pytest.approx(gradient @ x + 0.5 * x @ hessian @ x, rel=1e-12)
    assert found.loss == pytest.approx(1.5, rel=1e-12)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    assert (found.radius, found.displacement, found.steps) == (0.7, pytest.approx(0.7, rel=1e-12), 1)
    assert (objective.evaluations, objective.gradient_evaluations) == (1, 1)


@pytest.mark.parametrize("values", [[4.0, 1.0, -2.0, 0.5], [-1.0, -3.0, -2.0, -8.0], [3.0, 2.9, 0.0, 0.0]])
@pytest.mark.parametrize("radius", [0.05, 1.0, 20.0])
def test_ascent_reaches_the_trust_region_solution(quadratic, symmetric_matrix, values, radius) -> None:
    hessian, gradient = symmetric_matrix(values), np.array([0.3, -0.1, 0.2, 0.4])
    exact = trust_region_maximum(hessian, gradient, radius)
    found = worst_case(*quadratic(hessian, gradient), radius=radius, steps=200)
    assert found.increase == pytest.approx(exact, rel=1e-6)


def test_ascent_is_never_below_one_step_and_its_cost_is_counted(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([-50.0, -1.0, -2.0, 0.1]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    at = linearise(objective, space)
    increases = [worst_case(objective, space, radius=0.5, steps=steps, at=at).increase for steps in range(1, 12)]
    assert all(later >= earlier for earlier, later in pairwise(increases))
    assert increases[-1] > increases[0]
    assert objective.evaluations == 11
    assert objective.gradient_evaluations == 1 + sum(range(11))


@pytest.mark.parametrize("name", SPACES)
def test_the_same_radius_moves_the_weights_equally_in_every_space(tiny_lora, batches, name) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, name) as space:
        found = worst_case(objective, space, radius=0.1, steps=4)
        assert found.displacement == pytest.approx(0.1, rel=1e-9)
        at = linearise(objective, space)
        first_order = space.scale_to_radius(at.gradient, 1e-6) * at.gradient_norm**2
        assert worst_case(objective, space, radius=1e-6, steps=1).increase == pytest.approx(first_order, rel=1e-3)


def test_a_smaller_space_sees_no_more_than_the_full_one(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    found = {
        name: worst_case(objective, parameter_space(model, name), radius=0.05, steps=30).increase for name in SPACES
    }
    assert 0.0 < found["tangent"] <= found["full"]
    assert 0.0 < found["lora"] <= found["full"]


@pytest.mark.parametrize("name", SPACES)
def test_sharpness_does_not_depend_on_the_gauge(tiny_lora, batches, name) -> None:
    found = []
    for factor in (1.0, 5.0):
        model = tiny_lora()
        with torch.no_grad():
            for layer in adapted_layers(model):
                layer.A.mul_(factor)
                layer.B.div_(factor)
        objective = Objective(model, batches)
        space = parameter_space(model, name)
        found.append(
            (
                worst_case(objective, space, radius=0.2, steps=3).increase,
                average_case(objective, space, radius=0.5, draws=2).increase,
            )
        )
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)


def test_average_case_is_half_the_mean_curvature_on_a_quadratic(quadratic, symmetric_matrix) -> None:
    values = np.linspace(-1.0, 3.0, 40)
    objective, space = quadratic(symmetric_matrix(values), 10.0 * np.ones(40))
    found = average_case(objective, space, radius=0.5, draws=400, seed=1)
    expected = 0.5**2 * values.sum() / (2 * 40)
    assert abs(found.increase - expected) < 4 * found.standard_error
    assert found.standard_error < 0.05 * expected
    # Of one draw, x.H x / 2 with x uniform on the sphere: variance (rho^4 / 4) 2 (sum h^2 - n mean^2) / (n (n + 2)).
    deviation = 0.5**2 / 2 * np.sqrt(2 * (np.square(values).sum() - 40 * values.mean() ** 2) / (40 * 42))
    assert found.standard_error == pytest.approx(deviation / np.sqrt(400), rel=0.2)
    assert objective.evaluations == 801


def test_average_case_uses_the_loss_it_is_given_and_reports_progress(quadratic, symmetric_matrix) -> None:
    objective, space = quadratic(symmetric_matrix([1.0, 2.0, 3.0]), np.zeros(3))
    reports: list[float] = []
    found = average_case(
        objective, space, radius=0.5, draws=3, loss=1.0, on_progress=lambda done, note: reports.append(done)
    )
    again = average_case(objective, space, radius=0.5, draws=3)
    assert found.increase == pytest.approx(again.increase + 0.5, rel=1e-12)
    assert objective.evaluations == 6 + 7
    assert reports == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert average_case(objective, space, radius=0.5, draws=3, seed=1).increase != again.increase


def test_linearise_gives_the_projected_gradient(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, "tangent") as space:
        at = linearise(objective, space)
        expected = space.project(objective.gradient(space.tensors))
        assert vectors.norm(vectors.axpy(-1.0, expected, at.gradient)) < 1e-14
        assert at.gradient_norm == pytest.approx(vectors.norm(expected), rel=1e-12)


def test_impossible_settings_are_refused(quadratic) -> None:
    objective, space = quadratic(np.eye(3), np.ones(3))
    for radius in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="positive distance"):
            worst_case(objective, space, radius=radius)
    with pytest.raises(SettingsError, match="at least one ascent step"):
        worst_case(objective, space, radius=1.0, steps=0)
    with pytest.raises(SettingsError, match="at least 2"):
        average_case(objective, space, radius=1.0, draws=1)
    with pytest.raises(DirectionError, match="zero in the full space"):
        worst_case(*quadratic(np.eye(3), np.zeros(3)), radius=1.0)
