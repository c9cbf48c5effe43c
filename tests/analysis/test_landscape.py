from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import (
    Objective,
    SettingsError,
    filter_normalised_direction,
    parameter_space,
    slices,
    symmetric_alphas,
    vectors,
)

SPACES = ("full", "lora", "tangent")


def test_symmetric_alphas() -> None:
    assert symmetric_alphas(0.5, 5) == (-0.5, -0.25, 0.0, 0.25, 0.5)
    for points in (4, 1):
        with pytest.raises(SettingsError, match="odd number"):
            symmetric_alphas(0.5, points)
    with pytest.raises(SettingsError, match="positive multiple"):
        symmetric_alphas(-0.5, 5)


def test_rows_of_a_direction_have_the_norms_of_the_merged_rows(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "full") as space:
        direction = filter_normalised_direction(space, seed=0, index=0)
        for block, layer in zip(direction, space.layers, strict=True):
            merged = (layer.weight + layer.scaling * layer.B @ layer.A).detach()
            torch.testing.assert_close(block.norm(dim=1), merged.norm(dim=1), rtol=1e-10, atol=0.0)


def test_rows_of_a_direction_have_the_norms_of_the_balanced_rows(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "lora") as space:
        for block, weights in zip(filter_normalised_direction(space, seed=0, index=0), space.tensors, strict=True):
            torch.testing.assert_close(block.norm(dim=1), weights.detach().norm(dim=1), rtol=1e-10, atol=0.0)


def test_a_tangent_direction_lies_in_the_tangent_space(tiny_lora) -> None:
    with parameter_space(tiny_lora(), "tangent") as space:
        direction = filter_normalised_direction(space, seed=0, index=0)
        assert vectors.norm(vectors.axpy(-1.0, space.project(direction), direction)) < 1e-12


def test_models_share_the_draws_and_differ_in_the_row_norms_alone(tiny_lora) -> None:
    found = []
    for factor in (1.0, 3.0):
        model = tiny_lora()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "base_layer" in name or "lora_B" in name:
                    parameter.mul_(factor)
        found.append(filter_normalised_direction(parameter_space(model, "full"), seed=0, index=1))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(3.0 * one, other, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("name", SPACES)
def test_losses_are_those_of_the_model_moved_by_hand(tiny_lora, batches, mean_token_loss, name) -> None:
    model = tiny_lora().eval()
    alphas = symmetric_alphas(0.4, 5)
    with parameter_space(model, name) as space:
        found = slices(Objective(model, batches), space, alphas=alphas, directions=2, seed=3)
        for index in range(2):
            direction = filter_normalised_direction(space, seed=3, index=index)
            saved = [tensor.detach().clone() for tensor in space.tensors]
            for position, alpha in enumerate(alphas):
                with torch.no_grad():
                    for tensor, origin, step in zip(space.tensors, saved, direction, strict=True):
                        tensor.copy_(origin + alpha * step)
                    expected = mean_token_loss(model, batches).item()
                    for tensor, origin in zip(space.tensors, saved, strict=True):
                        tensor.copy_(origin)
                assert found.losses[index][position] == pytest.approx(expected, rel=1e-10)
                expected_norm = space.displacement_norm([alpha * block for block in direction])
                assert found.weight_norms[index][position] == pytest.approx(expected_norm, rel=1e-12)
    assert found.losses[0] != found.losses[1]
    assert found.weight_norms[0][2] == 0.0


def test_curvature_and_losses_on_a_quadratic(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([4.0, 1.0, -2.0, 0.5]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    with torch.no_grad():
        space.tensors[0].fill_(1.0)
    found = slices(objective, space, alphas=(-0.3, -0.1, 0.0, 0.1, 0.3), directions=1)
    (direction,) = filter_normalised_direction(space, seed=0, index=0)
    d, w = direction.numpy(), np.ones(4)
    assert np.linalg.norm(d) == pytest.approx(2.0)
    assert found.curvatures[0] == pytest.approx(d @ hessian @ d, rel=1e-9)
    points = [w + alpha * d for alpha in found.alphas]
    np.testing.assert_allclose(
        found.losses[0], [1.5 + gradient @ p + 0.5 * p @ hessian @ p for p in points], rtol=1e-12
    )


def test_the_centre_is_not_evaluated_again(quadratic) -> None:
    objective, space = quadratic(np.eye(3), np.zeros(3))
    reports: list[float] = []
    with torch.no_grad():
        space.tensors[0].fill_(1.0)
    slices(
        objective,
        space,
        alphas=symmetric_alphas(1.0, 3),
        directions=3,
        loss=objective.value(),
        on_progress=lambda done, note: reports.append(done),
    )
    assert objective.evaluations == 1 + 3 * 2
    assert len(reports) == 9
    assert reports[-1] == 1.0


@pytest.mark.parametrize("alphas", [(0.0,), (-1.0, 0.0, 2.0), (1.0, 0.0, -1.0), (-1.0, 1.0), (-1.0, 0.5, 1.0)])
def test_positions_that_are_not_symmetric_are_refused(quadratic, alphas) -> None:
    with pytest.raises(SettingsError, match="symmetric about 0"):
        slices(*quadratic(np.eye(3), np.zeros(3)), alphas=alphas)


def test_no_direction_is_refused(quadratic) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        slices(*quadratic(np.eye(3), np.zeros(3)), alphas=symmetric_alphas(1.0, 3), directions=0)
