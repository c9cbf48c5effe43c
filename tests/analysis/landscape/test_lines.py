from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import Objective, SettingsError, parameter_space, slices, symmetric_alphas, vectors
from analysis.landscape import filter_normalised_direction, line, unit_direction

SPACES = ("full", "lora", "tangent")


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


def test_a_line_along_an_eigenvector_has_its_eigenvalue_as_curvature(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([4.0, 1.0, -2.0, 0.5]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    values, basis = np.linalg.eigh(hessian)
    for index in (0, 3):
        found = line(
            objective, space, unit_direction([torch.as_tensor(5.0 * basis[:, index])]), alphas=symmetric_alphas(0.2, 5)
        )
        assert found.curvature == pytest.approx(values[index], rel=1e-9)
        assert found.weight_norms == pytest.approx([0.2, 0.1, 0.0, 0.1, 0.2], rel=1e-12)
        slope = gradient @ basis[:, index]
        expected = [1.5 + a * slope + 0.5 * a**2 * values[index] for a in found.alphas]
        assert found.losses == pytest.approx(expected, rel=1e-12)


def test_a_stopped_line_goes_on_where_it_stopped(tiny_lora, batches, tmp_path) -> None:
    model = tiny_lora()
    objective, store = Objective(model, batches), tmp_path / "line.json"
    with parameter_space(model, "lora") as space:
        direction = filter_normalised_direction(space, seed=0, index=0)
        alphas = symmetric_alphas(0.4, 5)
        whole = line(objective, space, direction, alphas=alphas)

        def interrupt(done: float, note: str) -> None:
            if done > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            line(objective, space, direction, alphas=alphas, store=store, on_progress=interrupt)
        before = objective.evaluations
        assert line(objective, space, direction, alphas=alphas, loss=whole.losses[2], store=store) == whole
        assert objective.evaluations == before + 2
        with pytest.raises(SettingsError, match="grid with directions"):
            line(objective, space, vectors.scale(direction, 2.0), alphas=alphas, store=store)
