from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from analysis import DirectionError, Objective, SettingsError, parameter_space, symmetric_alphas
from analysis.landscape import filter_normalised_direction, plane
from analysis.landscape.plane import second_differences

ALPHAS, BETAS = symmetric_alphas(0.4, 5), symmetric_alphas(0.3, 3)


def test_a_plane_of_a_quadratic_is_the_closed_form(quadratic, symmetric_matrix) -> None:
    hessian, gradient = symmetric_matrix([4.0, 1.0, -2.0, 0.5]), np.array([0.3, -0.1, 0.2, 0.4])
    objective, space = quadratic(hessian, gradient)
    d, e = np.array([1.0, 2.0, 0.0, -1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    found = plane(objective, space, [torch.as_tensor(d)], [torch.as_tensor(e)], alphas=ALPHAS, betas=BETAS)
    for i, alpha in enumerate(ALPHAS):
        for j, beta in enumerate(BETAS):
            x = alpha * d + beta * e
            assert found.losses[i][j] == pytest.approx(1.5 + gradient @ x + 0.5 * x @ hessian @ x, rel=1e-12)
            assert found.weight_norms[i][j] == pytest.approx(np.linalg.norm(x), abs=1e-12)
    assert found.centre_curvature == pytest.approx((d @ hessian @ d, d @ hessian @ e, e @ hessian @ e), rel=1e-9)
    assert found.cosine == pytest.approx(d @ e / (np.linalg.norm(d) * np.linalg.norm(e)), rel=1e-12)
    assert (found.evaluated, objective.evaluations) == (15, 15)


@pytest.mark.parametrize(("values", "share"), [([2.0, 1.0], 1.0), ([2.0, -1.0], 0.0)])
def test_the_convex_share_of_a_bowl_is_one_and_of_a_saddle_zero(quadratic, values, share) -> None:
    objective, space = quadratic(np.diag(values), np.zeros(2))
    # Turned by 45 degrees the saddle bends upwards along neither axis alone; only the mixed difference shows it.
    first, second = torch.tensor([1.0, 1.0]).double(), torch.tensor([1.0, -1.0]).double()
    assert plane(objective, space, [first], [second], alphas=ALPHAS).convex_share == share


def test_second_differences_are_exact_for_quadratics() -> None:
    alphas, betas = np.linspace(-1.0, 2.0, 6), np.linspace(0.0, 1.0, 5)
    values = 3.0 * alphas[:, None] ** 2 - 2.0 * alphas[:, None] * betas + 0.5 * betas**2 + alphas[:, None]
    found = second_differences(values, alphas[1] - alphas[0], betas[1] - betas[0])
    assert found.shape == (4, 3, 2, 2)
    np.testing.assert_allclose(found, np.broadcast_to([[6.0, -2.0], [-2.0, 1.0]], found.shape), atol=1e-10)


def test_a_centre_outside_the_grid_has_no_curvature(quadratic) -> None:
    objective, space = quadratic(np.eye(2), np.zeros(2))
    first, second = torch.eye(2).double()
    found = plane(objective, space, [first], [second], alphas=(1.0, 2.0, 3.0), betas=ALPHAS)
    assert found.centre_curvature is None


@pytest.mark.parametrize("name", ["full", "lora"])
def test_a_stopped_plane_goes_on_and_is_the_same_as_an_undisturbed_one(tiny_lora, batches, tmp_path, name) -> None:
    model = tiny_lora()
    objective, store = Objective(model, batches), tmp_path / "plane.json"
    with parameter_space(model, name) as space:
        directions = [filter_normalised_direction(space, seed=0, index=i) for i in (0, 1)]
        whole = plane(objective, space, *directions, alphas=BETAS)
        notes: list[str] = []

        def interrupt(done: float, note: str) -> None:
            notes.append(note)
            if len(notes) == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            plane(objective, space, *directions, alphas=BETAS, store=store, on_progress=interrupt)
        assert notes[-1].startswith("point 4 of 9, about")
        again = plane(objective, space, *directions, alphas=BETAS, store=store)
        assert again.losses == whole.losses
        assert again.evaluated == 5
        before = objective.evaluations
        assert plane(objective, space, *directions, alphas=BETAS, store=store).evaluated == 0
        assert objective.evaluations == before + 1
    assert [path.name for path in tmp_path.iterdir()] == ["plane.json"]


def test_a_file_of_another_grid_is_refused(tiny_lora, batches, tmp_path) -> None:
    model = tiny_lora()
    objective, store = Objective(model, batches), tmp_path / "plane.json"
    space = parameter_space(model, "full")
    first, second, third = (filter_normalised_direction(space, seed=0, index=i) for i in range(3))
    plane(objective, space, first, second, alphas=BETAS, store=store)
    with pytest.raises(SettingsError, match=r"grid with alphas = \[.*now it is"):
        plane(objective, space, first, second, alphas=ALPHAS, betas=BETAS, store=store)
    with pytest.raises(SettingsError, match="grid with directions"):
        plane(objective, space, first, third, alphas=BETAS, store=store)
    with pytest.raises(SettingsError, match="grid with loss"):
        plane(Objective(model, batches[:1]), space, first, second, alphas=BETAS, store=store)
    with pytest.raises(SettingsError, match="grid with space = 'full', now it is 'tangent'"):
        plane(objective, parameter_space(model, "tangent"), first, second, alphas=BETAS, store=store)
    # Numbers that differ by rounding are those of the same grid on another machine.
    stored = json.loads(store.read_text())
    stored["settings"]["loss"] *= 1.0 + 1e-6
    store.write_text(json.dumps(stored))
    assert plane(objective, space, first, second, alphas=BETAS, store=store).evaluated == 0
    damaged = [b"[]", b"\xff", b'{"settings": 3, "values": []}']
    damaged += [json.dumps(stored | {"values": values}).encode() for values in (3, [[1.0]], [["a"] * 5] * 5)]
    for content in damaged:
        store.write_bytes(content)
        with pytest.raises(SettingsError, match="not a stored grid"):
            plane(objective, space, first, second, alphas=BETAS, store=store)
    with pytest.raises(SettingsError, match="there is no folder"):
        plane(objective, space, first, second, alphas=BETAS, store=tmp_path / "none" / "plane.json")


def test_parallel_and_zero_directions_are_refused(quadratic) -> None:
    objective, space = quadratic(np.eye(2), np.zeros(2))
    first = [torch.ones(2).double()]
    with pytest.raises(DirectionError, match="parallel"):
        plane(objective, space, first, [-2.0 * first[0]], alphas=ALPHAS)
    with pytest.raises(DirectionError, match="is zero"):
        plane(objective, space, first, [0.0 * first[0]], alphas=ALPHAS)
    assert objective.evaluations == 0
