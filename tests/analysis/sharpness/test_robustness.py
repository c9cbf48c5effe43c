from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import DirectionError, Objective, SettingsError, linearise, parameter_space
from analysis.sharpness import PAPER_ALPHAS, robustness_curve
from analysis.spaces import adapted_layers


def test_the_curve_is_the_closed_form_on_a_quadratic(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([4.0, 1.0, -2.0]), np.array([0.3, -0.1, 0.2])
    found = robustness_curve(*quadratic(hessian, gradient))
    unit = gradient / np.linalg.norm(gradient)
    assert found.alphas == (0.0, *PAPER_ALPHAS)
    expected = [1.5 + a * gradient @ unit + 0.5 * a**2 * unit @ hessian @ unit for a in found.alphas]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-12)
    np.testing.assert_allclose(found.weight_norms, found.alphas, rtol=1e-12)
    assert found.metrics is None


@pytest.mark.parametrize("name", ["full", "lora"])
def test_loss_and_metric_are_taken_on_the_moved_model(tiny_lora, batches, snapshot, name) -> None:
    model = tiny_lora().train()
    objective = Objective(model, batches)
    check = snapshot(model)
    modes = []

    def metric(module) -> float:
        modes.append((module.training, torch.is_grad_enabled()))
        return float(sum(layer.B.detach().sum() + layer.weight.detach().sum() for layer in adapted_layers(module)))

    found = robustness_curve(objective, parameter_space(model, name), alphas=(0.5, 2.0), metric=metric)
    check()
    assert set(modes) == {(False, False)}
    with parameter_space(model, name) as space:
        at = linearise(objective, space)
        for position, alpha in ((0, 0.0), (1, 0.5), (2, 2.0)):
            step = [alpha * block / at.gradient_norm for block in at.gradient]
            with space.displaced(step):
                assert found.losses[position] == pytest.approx(objective.value(), rel=1e-12)
                assert found.metrics[position] == pytest.approx(metric(model), rel=1e-12)
            assert found.weight_norms[position] == pytest.approx(space.displacement_norm(step), rel=1e-12)


def test_impossible_lengths_and_a_zero_gradient_are_refused(quadratic) -> None:
    for alphas in ((), (0.0, 1.0)):
        with pytest.raises(SettingsError, match="positive lengths"):
            robustness_curve(*quadratic(np.eye(2), np.ones(2)), alphas=alphas)
    with pytest.raises(DirectionError, match="gradient is zero"):
        robustness_curve(*quadratic(np.eye(2), np.zeros(2)))
