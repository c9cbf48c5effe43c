from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from analysis import DirectionError, Objective, SettingsError, parameter_space
from analysis.sharpness import WeightNorm, linearise, weight_change, worst_case, worst_case_point
from analysis.spaces import adapted_layers

SPACES = ("full", "lora", "tangent")
EXACT = {"max_steps": 400, "tolerance": 1e-11}


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
    found = worst_case(objective, space, radius=0.7, max_steps=1)
    x = 0.7 * gradient / np.linalg.norm(gradient)
    assert found.increase == pytest.approx(gradient @ x + 0.5 * x @ hessian @ x, rel=1e-12)
    assert found.loss == pytest.approx(1.5, rel=1e-12)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    assert (found.radius, found.displacement, found.steps) == (0.7, pytest.approx(0.7, rel=1e-12), 1)
    assert not found.converged
    assert found.starts == (found.increase,)
    assert (objective.evaluations, objective.gradient_evaluations) == (1, 1)


@pytest.mark.parametrize("values", [[4.0, 1.0, -2.0, 0.5], [-1.0, -3.0, -2.0, -8.0], [3.0, 2.9, 0.0, 0.0]])
@pytest.mark.parametrize("radius", [0.05, 1.0, 20.0])
def test_ascent_reaches_the_trust_region_solution(quadratic, symmetric_matrix, values, radius) -> None:
    hessian, gradient = symmetric_matrix(values), np.array([0.3, -0.1, 0.2, 0.4])
    exact = trust_region_maximum(hessian, gradient, radius)
    found = worst_case(*quadratic(hessian, gradient), radius=radius, **EXACT)
    assert found.increase == pytest.approx(exact, rel=1e-6)
    assert found.converged
    loose = worst_case(*quadratic(hessian, gradient), radius=radius)
    assert loose.converged
    assert loose.steps <= found.steps < EXACT["max_steps"]
    assert loose.increase == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("name", ["adaptive", "filter"])
def test_ascent_in_another_norm_is_a_trust_region_in_scaled_coordinates(quadratic, symmetric_matrix, name) -> None:
    hessian, gradient = symmetric_matrix([4.0, 1.0, -2.0, 0.5]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    weights = np.array([0.5, -1.0, 0.0, 2.0])
    with torch.no_grad():
        space.tensors[0].copy_(torch.as_tensor(weights))
    scale = np.abs(weights) + 0.1 if name == "adaptive" else np.full(4, np.linalg.norm(weights))
    here = gradient + hessian @ weights
    exact = trust_region_maximum(scale[:, None] * hessian * scale, scale * here, 0.6)
    found = worst_case(objective, space, radius=0.6, norm=WeightNorm(name, eta=0.1), **EXACT)
    assert found.increase == pytest.approx(exact, rel=1e-6)
    assert found.displacement == pytest.approx(0.6, rel=1e-9)
    assert getattr(found.lengths, name) == pytest.approx(0.6, rel=1e-9)
    assert found.norm == name


def test_ascent_is_never_below_one_step_and_its_cost_is_counted(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([-50.0, -1.0, -2.0, 0.1]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    at = linearise(objective, space)
    increases = [
        worst_case(objective, space, radius=0.5, max_steps=steps, tolerance=1e-9, at=at).increase
        for steps in range(1, 12)
    ]
    assert all(later >= earlier for earlier, later in pairwise(increases))
    assert increases[-1] > increases[0]
    assert objective.evaluations == 11
    assert objective.gradient_evaluations == 1 + sum(range(11))


def test_restarts_find_a_maximum_that_the_gradient_does_not_see(quadratic) -> None:
    # The gradient has no part along the curved direction, so the ascent from it never leaves the flat one.
    hessian, gradient = np.diag([0.1, 5.0]), np.array([0.2, 0.0])
    angles = np.linspace(0.0, 2 * np.pi, 200_001)
    circle = 1.3 * np.stack([np.cos(angles), np.sin(angles)])
    exact = (gradient @ circle + 0.5 * (circle * (hessian @ circle)).sum(axis=0)).max()
    alone = worst_case(*quadratic(hessian, gradient), radius=1.3, **EXACT)
    assert alone.increase == pytest.approx(0.2 * 1.3 + 0.05 * 1.3**2, rel=1e-9)
    found = worst_case(*quadratic(hessian, gradient), radius=1.3, restarts=2, seed=1, **EXACT)
    assert found.increase == pytest.approx(exact, rel=1e-7)
    assert found.starts[0] == pytest.approx(alone.increase, rel=1e-9)
    assert len(found.starts) == 3
    assert found.increase == max(found.starts)


def test_the_point_has_the_recorded_loss_and_a_given_start_is_not_lost(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, "full") as full, parameter_space(model, "lora") as lora:
        small, inside = worst_case_point(objective, lora, radius=0.5, max_steps=20)
        with lora.displaced(inside):
            assert objective.value() - small.loss == pytest.approx(small.increase, rel=1e-9)
        start = weight_change(lora, inside)
    with full:
        found, point = worst_case_point(objective, full, radius=0.5, max_steps=1, starts=[start])
        assert found.starts[1] == pytest.approx(small.increase, rel=1e-6)
        with full.displaced(point):
            assert objective.value() - found.loss == pytest.approx(max(found.starts), rel=1e-9)


@pytest.mark.parametrize("norm", ["absolute", "adaptive", "filter"])
@pytest.mark.parametrize("name", SPACES)
def test_the_same_radius_moves_the_weights_equally_in_every_space(tiny_lora, batches, name, norm) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    with parameter_space(model, name) as space:
        found = worst_case(objective, space, radius=0.1, max_steps=4, norm=WeightNorm(norm))
        assert found.displacement == pytest.approx(0.1, rel=1e-9)
        assert found.increase >= found.starts[0] > 0.0


def test_one_short_step_rises_by_what_the_gradient_predicts(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    for name in SPACES:
        with parameter_space(model, name) as space:
            at = linearise(objective, space)
            first_order = space.scale_to_radius(at.gradient, 1e-6) * at.gradient_norm**2
            found = worst_case(objective, space, radius=1e-6, max_steps=1)
            assert found.increase == pytest.approx(first_order, rel=1e-3)


def test_a_smaller_space_sees_no_more_than_the_full_one(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    found = {
        name: worst_case(objective, parameter_space(model, name), radius=0.05, max_steps=30, tolerance=1e-6).increase
        for name in SPACES
    }
    assert 0.0 < found["tangent"] <= found["full"]
    assert 0.0 < found["lora"] <= found["full"]


@pytest.mark.parametrize("norm", ["absolute", "adaptive"])
@pytest.mark.parametrize("name", SPACES)
def test_the_worst_case_does_not_depend_on_the_gauge(tiny_lora, batches, name, norm) -> None:
    found = []
    for factor in (1.0, 5.0):
        model = tiny_lora()
        with torch.no_grad():
            for layer in adapted_layers(model):
                layer.A.mul_(factor)
                layer.B.div_(factor)
        space = parameter_space(model, name)
        record = worst_case(Objective(model, batches), space, radius=0.2, max_steps=3, norm=WeightNorm(norm))
        found.append((record.increase, record.lengths.absolute, record.lengths.filter))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)


def test_progress_rises_to_one_and_names_the_start(quadratic, symmetric_matrix) -> None:
    reports: list[tuple[float, str]] = []
    worst_case(
        *quadratic(symmetric_matrix([4.0, 1.0, -2.0, 0.5]), np.ones(4)),
        radius=0.5,
        restarts=1,
        on_progress=lambda done, note: reports.append((done, note)),
    )
    fractions = [done for done, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert reports[-1][1].startswith("start 2 of 2: stopped after")


def test_impossible_settings_are_refused(quadratic) -> None:
    objective, space = quadratic(np.eye(3), np.ones(3))
    for radius in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="positive distance"):
            worst_case(objective, space, radius=radius)
    with pytest.raises(SettingsError, match="at least one ascent step"):
        worst_case(objective, space, radius=1.0, max_steps=0)
    with pytest.raises(SettingsError, match="restarts is -1"):
        worst_case(objective, space, radius=1.0, restarts=-1)
    with pytest.raises(SettingsError, match="tolerance is 0"):
        worst_case(objective, space, radius=1.0, tolerance=0.0)
    with pytest.raises(DirectionError, match="zero in the full space"):
        worst_case(*quadratic(np.eye(3), np.zeros(3)), radius=1.0)
