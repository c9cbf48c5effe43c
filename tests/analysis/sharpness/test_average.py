from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import Objective, SettingsError, parameter_space
from analysis.sharpness import WeightNorm, average_case
from analysis.spaces import adapted_layers


def test_average_case_is_half_the_mean_curvature_on_a_quadratic(quadratic, symmetric_matrix) -> None:
    values = np.linspace(-1.0, 3.0, 40)
    objective, space = quadratic(symmetric_matrix(values), 10.0 * np.ones(40))
    found = average_case(objective, space, radius=0.5, max_draws=400, tolerance=1e-9, seed=1)
    expected = 0.5**2 * values.sum() / (2 * 40)
    assert abs(found.increase - expected) < 4 * found.standard_error
    assert found.standard_error < 0.05 * expected
    # Of one draw, x.H x / 2 with x uniform on the sphere: variance (rho^4 / 4) 2 (sum h^2 - n mean^2) / (n (n + 2)).
    deviation = 0.5**2 / 2 * np.sqrt(2 * (np.square(values).sum() - 40 * values.mean() ** 2) / (40 * 42))
    assert found.standard_error == pytest.approx(deviation / np.sqrt(400), rel=0.2)
    assert (found.draws, found.converged) == (400, False)
    assert found.lengths.absolute == pytest.approx(0.5, rel=1e-12)
    assert objective.evaluations == 801


def test_adaptive_moves_are_uniform_in_the_scaled_coordinates(quadratic, symmetric_matrix) -> None:
    hessian = symmetric_matrix(np.linspace(1.0, 3.0, 20))
    objective, space = quadratic(hessian, np.zeros(20))
    weights = np.linspace(-2.0, 2.0, 20)
    with torch.no_grad():
        space.tensors[0].copy_(torch.as_tensor(weights))
    found = average_case(objective, space, radius=0.5, norm=WeightNorm("adaptive"), max_draws=900, tolerance=0.03)
    scale = np.abs(weights) + 0.01
    expected = 0.5**2 * np.trace(scale[:, None] * hessian * scale) / (2 * 20)
    assert abs(found.increase - expected) < 4 * found.standard_error
    assert found.converged
    assert 4 < found.draws < 900
    assert found.standard_error <= 0.03 * found.increase
    assert found.lengths.adaptive == pytest.approx(0.5, rel=1e-12)


def test_drawing_ends_at_the_tolerance_but_not_before_four_draws(quadratic) -> None:
    # The same curvature in every direction: every draw is equal.
    found = average_case(*quadratic(2.0 * np.eye(5), np.zeros(5)), radius=0.5)
    assert (found.draws, found.converged) == (4, True)
    assert found.increase == pytest.approx(0.25, rel=1e-12)
    few = average_case(*quadratic(2.0 * np.eye(5), np.zeros(5)), radius=0.5, max_draws=2)
    assert (few.draws, few.converged) == (2, False)


@pytest.mark.parametrize("norm", ["absolute", "adaptive", "filter"])
@pytest.mark.parametrize("name", ["full", "lora", "tangent"])
def test_the_average_case_does_not_depend_on_the_gauge(tiny_lora, batches, name, norm) -> None:
    found = []
    for factor in (1.0, 5.0):
        model = tiny_lora()
        with torch.no_grad():
            for layer in adapted_layers(model):
                layer.A.mul_(factor)
                layer.B.div_(factor)
        space = parameter_space(model, name)
        record = average_case(Objective(model, batches), space, radius=0.5, max_draws=2, norm=WeightNorm(norm))
        assert getattr(record.lengths, norm) == pytest.approx(0.5, rel=1e-9)
        found.append(record.increase)
    assert found[0] == pytest.approx(found[1], rel=1e-8)


def test_average_case_uses_the_loss_it_is_given_and_reports_progress(quadratic, symmetric_matrix) -> None:
    objective, space = quadratic(symmetric_matrix([1.0, 2.0, 3.0]), np.zeros(3))
    reports: list[float] = []
    found = average_case(
        objective, space, radius=0.5, max_draws=3, loss=1.0, on_progress=lambda done, note: reports.append(done)
    )
    again = average_case(objective, space, radius=0.5, max_draws=3)
    assert found.increase == pytest.approx(again.increase + 0.5, rel=1e-12)
    assert objective.evaluations == 6 + 7
    assert reports == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert average_case(objective, space, radius=0.5, max_draws=3, seed=1).increase != again.increase


def test_impossible_settings_are_refused(quadratic) -> None:
    objective, space = quadratic(np.eye(3), np.ones(3))
    with pytest.raises(SettingsError, match="at least 2"):
        average_case(objective, space, radius=1.0, max_draws=1)
    with pytest.raises(SettingsError, match="tolerance is -1"):
        average_case(objective, space, radius=1.0, tolerance=-1.0)
    with pytest.raises(SettingsError, match="positive distance"):
        average_case(objective, space, radius=-1.0)
